"""Jobs as people see them."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, Select, func, select
from sqlalchemy.exc import SQLAlchemyError

from magellon.errors import NotThere
from magellon.platform.pipeline.plan import Plan
from magellon.platform.server.http.paging import Page, Paging, make_page, read_cursor
from magellon.platform.server.http.states import ShownState, is_shown_as
from magellon.platform.server.http.views.view import View
from magellon.platform.store.ledger import LedgerAway
from magellon.platform.store.schema import jobs, sessions, tasks

_ORDER = "jobs by id"
_WORTH, _OLDEST, _LATE = 10, 2.0, 2.0
log = logging.getLogger("magellon.server")


class StepCounts(View):
    """Tasks of one step by state."""

    step: str = Field(examples=["ctf_estimation"])
    backend: str = Field(examples=["ctf"])
    pending: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    held: int = 0
    outdated: int = 0


class JobView(View):
    """The processing of one session: one task for each micrograph and step."""

    id: int = Field(examples=[1])
    session: int = Field(examples=[1])
    session_name: str = Field(examples=["grid7"])
    state: ShownState
    """Of the job as a whole: running while anything is left to do, otherwise failed if anything failed, otherwise completed."""
    paused: bool
    priority: int
    """Tasks of jobs with a higher priority come first."""
    created_at: float
    """Seconds since 1970, UTC."""
    steps: tuple[StepCounts, ...]
    """In the order of the recipe."""


class JobDetail(JobView):
    """With the recipe it works by."""

    recipe: dict[str, Any] | None
    """As submitted; `POST .../recipe` changes it."""


@dataclass(frozen=True)
class _Counted:
    steps: tuple[StepCounts, ...]
    due: float
    """When to count again; until then it serves all who ask."""
    until: float
    """When it is too old for anybody."""


class StepCounter:
    """Counts tasks. Where that takes long, as for 100,000 of them, an answer serves all who ask within ten times that long.

    A little longer while it is counted again: of many who look on, nobody waits for that.
    """

    def __init__(
        self, reading: Callable[[], AbstractContextManager[Connection]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`reading`: opens a connection to the ledger, for a thread of its own."""
        self._reading, self._clock = reading, clock
        self._known: dict[int, _Counted] = {}
        self._counting = Lock()

    def forget(self) -> None:
        """Something has been changed by a person, who will want to see it."""
        self._known = {}  # what is being counted meanwhile is kept nowhere

    def count(self, connection: Connection, job_id: int, plan: Any) -> tuple[StepCounts, ...]:
        """In the order of the recipe; `plan` as the ledger holds it."""
        found, now = self._known.get(job_id), self._clock()
        if found is None or now >= found.until:
            with self._counting:
                found = self._known.get(job_id)  # somebody else may have counted meanwhile
                fresh = found is not None and self._clock() < found.due
                return found.steps if found and fresh else self._count(connection, job_id, plan)
        if now >= found.due and self._counting.acquire(blocking=False):
            Thread(target=self._count_again, args=(job_id, plan), daemon=True).start()
        return found.steps

    def _count_again(self, job_id: int, plan: Any) -> None:
        try:
            with self._reading() as connection:
                self._count(connection, job_id, plan)
        except (LedgerAway, SQLAlchemyError) as error:
            log.warning("tasks of job %d not counted: %s", job_id, error)
        finally:
            self._counting.release()

    def _count(self, connection: Connection, job_id: int, plan: Any) -> tuple[StepCounts, ...]:
        began, known = self._clock(), self._known
        counted = count_steps(connection, job_id, Plan.model_validate(plan))
        ended = self._clock()
        due = ended + min(_WORTH * (ended - began), _OLDEST)
        known[job_id] = _Counted(counted, due, due + _LATE)
        return counted


def list_jobs(
    connection: Connection, paging: Paging, visible: frozenset[int] | None, session: int | None, counter: StepCounter
) -> Page[JobView]:
    query = _select_jobs().order_by(jobs.c.id).limit(paging.limit + 1)
    if session is not None:
        query = query.where(jobs.c.session_id == session)
    if visible is not None:
        query = query.where(jobs.c.session_id.in_(visible))
    position = read_cursor(_ORDER, paging.cursor, [int])
    if position:
        query = query.where(jobs.c.id > position[0])
    shown = [JobView(**_describe_job(connection, row, counter)) for row in connection.execute(query).all()]
    return make_page(_ORDER, shown, paging.limit, lambda job: (job.id,))


def get_job(connection: Connection, job_id: int, counter: StepCounter) -> JobDetail:
    """Raises NotThere."""
    row = connection.execute(_select_jobs().where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise NotThere(f"there is no job {job_id}")
    return JobDetail(**_describe_job(connection, row, counter), recipe=row.recipe)


def _select_jobs() -> Select[Any]:
    return select(jobs, sessions.c.name.label("session_name")).join_from(jobs, sessions)


def _describe_job(connection: Connection, row: Row[Any], counter: StepCounter) -> dict[str, Any]:
    steps = counter.count(connection, row.id, row.plan)
    return {
        "id": row.id, "session": row.session_id, "session_name": row.session_name, "paused": row.paused,
        "priority": row.priority, "created_at": row.created_at, "steps": steps, "state": sum_up(steps),
    }  # fmt: skip


_SHOWN = {"waiting": "pending", "skipped": "held"}


def count_steps(connection: Connection, job_id: int, plan: Plan) -> tuple[StepCounts, ...]:
    """In the order of the recipe."""
    number = func.count().label("number")
    query = select(tasks.c.step, tasks.c.state, number).where(tasks.c.job_id == job_id)  # from an index alone
    counts: dict[str, Counter[str]] = {step.key: Counter() for step in plan.steps}
    for row in connection.execute(query.group_by(tasks.c.state, tasks.c.step)):
        if row.step in counts:
            counts[row.step][_SHOWN.get(row.state, row.state)] += row.number
    if any(found["pending"] for found in counts.values()):
        outdated = select(tasks.c.step, number).where(tasks.c.job_id == job_id, is_shown_as(ShownState.OUTDATED))
        for row in connection.execute(outdated.group_by(tasks.c.step)):
            if row.step in counts:
                counts[row.step].update({"outdated": row.number, "pending": -row.number})
    return tuple(StepCounts(step=step.key, backend=step.backend, **counts[step.key]) for step in plan.steps)


def sum_up(steps: Sequence[StepCounts]) -> ShownState:
    """The state of a whole job."""

    def total(*names: str) -> int:
        return sum(getattr(step, name) for step in steps for name in names)

    if total("running"):
        return ShownState.RUNNING
    if total("pending", "outdated"):
        return ShownState.RUNNING if total("completed", "failed", "held") else ShownState.PENDING
    if total("failed"):
        return ShownState.FAILED
    if total("cancelled"):
        return ShownState.CANCELLED
    return ShownState.COMPLETED
