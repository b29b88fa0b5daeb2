"""Micrographs with their numbers: filtered, sorted and counted by the database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field
from sqlalchemy import ColumnElement, Connection, Row, Select, String, and_, cast, func, select

from magellon.errors import BadInput, NotThere
from magellon.platform.pipeline.plan import MOVIE
from magellon.platform.server.http.paging import Page, Paging, make_page, read_cursor
from magellon.platform.server.http.states import ShownState, is_shown_as, shown_state
from magellon.platform.server.http.views.view import View
from magellon.platform.server.metrics import METRICS
from magellon.platform.store.expressions import exact_text
from magellon.platform.store.schema import items, jobs, metrics, places, tasks

_SHOWN: tuple[ColumnElement[Any], ...] = (items.c.id, items.c.session_id, items.c.name, items.c.place_id, items.c.problem)


class StepState(View):
    """A step of one micrograph."""

    task: int
    state: ShownState
    reason: str | None = None


class MicrographView(View):
    """A micrograph: a movie and all that was made of it."""

    id: int = Field(examples=[3])
    session: int
    name: str = Field(examples=["FoilHole_1_Data_2"])
    place: int | None
    """The exposure it was taken at."""
    problem: str | None
    """Why its movie cannot be processed."""
    metrics: dict[str, float] = Field(examples=[{"defocus": 12034.5, "resolution": 3.9, "picks": 212}])
    """Of the current results."""
    steps: dict[str, StepState]


@dataclass(frozen=True)
class MicrographFilter:
    """Which micrographs are asked for."""

    limits: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)
    """Metric > least and most value."""
    name: str | None = None
    place: int | None = None
    state: ShownState | None = None
    step: str | None = None


def find_job(connection: Connection, session_id: int) -> int | None:
    """The job whose results are shown."""
    found: int | None = connection.execute(select(func.max(jobs.c.id)).where(jobs.c.session_id == session_id)).scalar()
    return found


def list_micrographs(
    connection: Connection, session_id: int, paging: Paging, wanted: MicrographFilter, sort: str
) -> Page[MicrographView]:
    """In the order of `sort`: name, or a metric, `-` before it for the other way round; those that lack it come last.

    Raises:
        BadInput: no such metric, or a cursor of another order.
    """
    job = find_job(connection, session_id)
    conditions = make_conditions(connection, session_id, job, wanted)
    name = sort.removeprefix("-")
    order = f"micrographs by {sort}"
    if name == "name":
        rows = _list_by_name(connection, conditions, paging, order, sort.startswith("-"))
        return make_page(order, _describe(connection, job, rows), paging.limit, lambda each: (each.name,))
    if name not in METRICS:
        raise BadInput(f"sort = {sort!r}: must be name or one of {', '.join(METRICS)}, with - before it or not")
    rows = _list_by_metric(connection, (job or 0, name, sort.startswith("-")), conditions, paging, order)
    shown = _describe(connection, job, rows)
    return make_page(
        order, shown, paging.limit, lambda each: (0, each.metrics[name], each.id) if name in each.metrics else (1, 0.0, each.id)
    )


def _list_by_name(
    connection: Connection, conditions: list[ColumnElement[bool]], paging: Paging, order: str, down: bool
) -> Sequence[Row[Any]]:
    query = select(*_SHOWN).where(*conditions).order_by(items.c.name.desc() if down else items.c.name).limit(paging.limit + 1)
    position = read_cursor(order, paging.cursor, [str])
    if position:
        query = query.where(items.c.name < position[0] if down else items.c.name > position[0])
    return connection.execute(query).all()


def _list_by_metric(
    connection: Connection, by: tuple[int, str, bool], conditions: list[ColumnElement[bool]], paging: Paging, order: str
) -> list[Row[Any]]:
    """First those that have the metric, along its index, then the others."""
    job, name, down = by
    part, value, number = read_cursor(order, paging.cursor, [int, float, int]) or (0, None, 0)
    has = and_(metrics.c.job_id == job, metrics.c.name == name)
    rows: list[Row[Any]] = []
    if part == 0:
        ordered = (metrics.c.value.desc(), metrics.c.item_id.desc()) if down else (metrics.c.value, metrics.c.item_id)
        query = select(*_SHOWN).join(metrics, metrics.c.item_id == items.c.id).where(has, *conditions)
        if value is not None:
            beyond = metrics.c.value < value if down else metrics.c.value > value
            next_id = metrics.c.item_id < number if down else metrics.c.item_id > number
            query = query.where(beyond | ((metrics.c.value == value) & next_id))
        rows += connection.execute(query.order_by(*ordered).limit(paging.limit + 1)).all()
        number = 0
    if len(rows) <= paging.limit:
        lacking = ~select(metrics.c.item_id).where(has, metrics.c.item_id == items.c.id).exists()
        query = select(*_SHOWN).where(lacking, items.c.id > number, *conditions)
        rows += connection.execute(query.order_by(items.c.id).limit(paging.limit + 1 - len(rows))).all()
    return rows


def make_conditions(
    connection: Connection, session_id: int, job: int | None, wanted: MicrographFilter
) -> list[ColumnElement[bool]]:
    """What `wanted` means for the table of items."""
    conditions: list[ColumnElement[bool]] = [items.c.session_id == session_id, items.c.kind == MOVIE]
    for name, (least, most) in wanted.limits.items():
        limited = select(metrics.c.item_id).where(metrics.c.job_id == (job or 0), metrics.c.name == name)
        if least is not None:
            limited = limited.where(metrics.c.value >= least)
        if most is not None:
            limited = limited.where(metrics.c.value <= most)
        conditions.append(items.c.id.in_(limited))
    if wanted.name is not None:
        conditions.append(items.c.name.contains(wanted.name, autoescape=True))
    if wanted.place is not None:
        conditions.append(items.c.place_id.in_(_select_within(session_id, wanted.place)))
    if wanted.state is not None:
        in_state = select(tasks.c.item_id).where(tasks.c.job_id == (job or 0), is_shown_as(wanted.state))
        if wanted.step is not None:
            in_state = in_state.where(tasks.c.step == wanted.step)
        conditions.append(items.c.id.in_(in_state.where(tasks.c.item_id.is_not(None))))
    return conditions


def _select_within(session_id: int, place: int) -> Select[Any]:
    """A place and all that lie in it."""
    within = select(places.c.id).where(places.c.session_id == session_id, places.c.id == place).cte("within", recursive=True)
    below = select(places.c.id).join(within, places.c.parent_id == within.c.id)
    return select(within.union(below).c.id)


def get_micrograph(connection: Connection, micrograph_id: int) -> MicrographView:
    """Raises NotThere."""
    row = connection.execute(select(*_SHOWN).where(items.c.id == micrograph_id, items.c.kind == MOVIE)).one_or_none()
    if row is None:
        raise NotThere(f"there is no micrograph {micrograph_id}")
    return _describe(connection, find_job(connection, row.session_id), [row])[0]


_list_steps = select(
    tasks.c.item_id,
    func.aggregate_strings(cast(tasks.c.id, String) + " " + shown_state + " " + tasks.c.step, ";"),
)
"""All steps of a micrograph in one row: rows are what costs, most of all while other threads compute."""
_list_values = select(metrics.c.item_id, func.aggregate_strings(metrics.c.name + " " + exact_text(metrics.c.value), ";"))
"""All its metrics in one row."""


def _describe(connection: Connection, job: int | None, rows: Sequence[Row[Any]]) -> list[MicrographView]:
    numbers = [row.id for row in rows]
    steps: dict[int, dict[str, dict[str, Any]]] = {}  # plain: made records of all at once, which is far quicker
    values: dict[int, dict[str, float]] = {}
    for start in range(0, len(numbers), 500):
        part = numbers[start : start + 500]
        of_part = and_(tasks.c.job_id == job, tasks.c.item_id.in_(part))
        for item, listed in connection.execute(_list_steps.where(of_part).group_by(tasks.c.item_id)):
            found = sorted((int(task), shown, step) for task, shown, step in (each.split(" ") for each in listed.split(";")))
            steps[item] = {step: {"task": task, "state": shown} for task, shown, step in found}
        reasons = select(tasks.c.item_id, tasks.c.step, tasks.c.reason).where(of_part, tasks.c.reason.is_not(None))
        for item, step, reason in connection.execute(reasons):
            steps[item][step]["reason"] = reason
        measured = _list_values.where(metrics.c.job_id == job, metrics.c.item_id.in_(part)).group_by(metrics.c.item_id)
        for item, listed in connection.execute(measured):
            values[item] = {name: float(text) for name, text in sorted(each.split(" ") for each in listed.split(";"))}
    return [
        MicrographView.model_validate({
            "id": row.id, "session": row.session_id, "name": row.name, "place": row.place_id, "problem": row.problem,
            "metrics": values.get(row.id, {}), "steps": steps.get(row.id, {}),
        })
        for row in rows
    ]  # fmt: skip
