"""Previews of micrographs, made when somebody asks for one: a task beside those of the job's recipe."""

import asyncio
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from magellon.contracts.description import Description
from magellon.contracts.preview import PREVIEW
from magellon.errors import BadInput, NotThere
from magellon.platform.pipeline.catalogue import read_catalogue
from magellon.platform.pipeline.identity import identify_task, list_inputs
from magellon.platform.pipeline.parameters import fill_parameters
from magellon.platform.pipeline.plan import PlannedStep, Source
from magellon.platform.server.book import Book
from magellon.platform.server.dispatcher import Dispatcher
from magellon.platform.server.surveying import FRESH, find_results
from magellon.platform.store.schema import items, jobs, tasks

PREVIEW_STEP = PREVIEW.category
_MAKES_MICROGRAPHS = "motion_correction"


@dataclass(frozen=True)
class Preview:
    """A micrograph's preview as the ledger knows it."""

    task: int | None
    state: str
    identity: str | None = None
    reason: str | None = None


def find_preview(connection: Connection, item_id: int) -> Preview:
    """State `missing` when nobody asked for it, or when the micrograph is another one since.

    Raises:
        NotThere: the micrograph is not made (yet).
    """
    micrograph, preview = _find_rows(connection, item_id)
    if preview is None:
        return Preview(None, "missing")
    step = PlannedStep.model_validate(preview.inputs)
    if _identify(step, micrograph) != preview.identity:
        return Preview(None, "missing")
    return Preview(preview.id, preview.state, preview.identity, preview.reason)


def _find_rows(connection: Connection, item_id: int) -> tuple[Row[Any], Row[Any] | None]:
    """The tasks that made the micrograph and its preview."""
    newest = select(func.max(jobs.c.id)).join(items, items.c.session_id == jobs.c.session_id).where(items.c.id == item_id)
    query = select(tasks).where(tasks.c.item_id == item_id, tasks.c.job_id == newest.scalar_subquery())
    found = connection.execute(query.order_by(tasks.c.id)).all()
    made = [row for row in found if row.category == _MAKES_MICROGRAPHS and row.state == "completed"]
    if not made:
        raise NotThere("the micrograph is not made yet")
    return made[-1], next((row for row in found if row.category == PREVIEW_STEP), None)


def _identify(step: PlannedStep, micrograph: Row[Any]) -> str:
    return identify_task(step, list_inputs(step, {}, {micrograph.step: micrograph.identity}))


def enter_preview(connection: Connection, item_id: int, description: Description) -> int | None:
    """Ask for a preview; the number of its task when it is to be made, None when there is nothing to do."""
    micrograph, row = _find_rows(connection, item_id)
    step = _plan_step(description, micrograph.step)
    identity = _identify(step, micrograph)
    if row is not None and row.identity == identity and row.state in ("pending", "running", "completed"):
        return None
    there = identity in find_results(connection, [identity])
    values = {
        **FRESH, "identity": identity, "inputs": step.model_dump(mode="json"), "state": "completed" if there else "pending",
        "category": step.category, "backend": step.backend,
    }  # fmt: skip
    if row is None:
        named = {"job_id": micrograph.job_id, "item_id": item_id, "step": PREVIEW_STEP, "attempt": 0}
        number = int(connection.execute(tasks.insert().values(**named, **values).returning(tasks.c.id)).scalar_one())
    else:
        number = int(row.id)
        connection.execute(update(tasks).where(tasks.c.id == number).values(**values))
    return number


def _plan_step(description: Description, source: str) -> PlannedStep:
    params = fill_parameters(description, {})
    return PlannedStep(
        key=PREVIEW_STEP, category=PREVIEW_STEP, backend=description.name, version=description.version, params=params,
        identity_params=params, sources={"micrograph": Source(step=source, field="micrograph")},
    )  # fmt: skip


class Previewer:
    """Has previews made by a worker."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._book: Book = dispatcher.book

    async def request(self, micrograph: int) -> None:
        """Have the preview made if it is not there, before anything else waiting.

        Raises:
            NotThere: the micrograph is not made yet.
            BadInput: no backend can make it.
        """
        catalogue = await asyncio.to_thread(read_catalogue, self._book.home.catalogue, (PREVIEW_STEP,))
        usable = [each for each in catalogue.values() if each.error is None]
        if not usable:
            raise BadInput("no backend that makes previews can be used here")
        with self._book.ledger.transaction() as connection:
            entered = enter_preview(connection, micrograph, usable[0])
        if entered is not None:
            self._dispatcher.ask_to_publish()
