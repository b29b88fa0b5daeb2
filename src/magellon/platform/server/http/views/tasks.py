"""Tasks as people see them: state, provenance, outputs."""

from dataclasses import dataclass
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, Select, select

from magellon.contracts.preview import PREVIEW
from magellon.errors import NotThere
from magellon.platform.pipeline.identity import list_inputs
from magellon.platform.pipeline.plan import Plan, PlannedStep
from magellon.platform.pipeline.survey import recall_sample
from magellon.platform.server.http.paging import Page, Paging, make_page, read_cursor
from magellon.platform.server.http.states import ShownState, is_any_of, shown_state
from magellon.platform.server.http.views.view import View
from magellon.platform.store.schema import items, jobs, results, tasks

_ORDER = "tasks by id"


class TaskView(View):
    """One thing to compute: a step of one micrograph, or of the whole session."""

    id: int = Field(examples=[17])
    job: int = Field(examples=[1])
    micrograph: int | None = Field(examples=[3])
    """None for steps of the whole session."""
    name: str | None = Field(examples=["FoilHole_1_Data_2"])
    """Of the micrograph."""
    step: str = Field(examples=["ctf_estimation"])
    category: str
    backend: str
    state: ShownState
    kind: str | None
    """Of a failure: bad_input, transient, defect, lost or cancelled."""
    reason: str | None
    """Why it failed, is held or will be tried again."""
    attempt: int
    worker: str | None
    started_at: float | None
    """Seconds since 1970, UTC."""
    finished_at: float | None


class TaskDetail(TaskView):
    """With everything that made its result."""

    identity: str | None
    """sha256 of what is computed: the same for the same input, backend, version and parameters."""
    version: int | None
    """Of the backend's results."""
    parameters: dict[str, Any]
    """All, defaults written out."""
    inputs: dict[str, Any]
    """Each input as what identifies it: a movie, or [identity of the task that made it, output name]."""
    outputs: dict[str, Any] | None
    """What the backend answered; file names are those under `/tasks/{task_id}/files`."""
    provenance: dict[str, Any]
    """Host, device, threads, seconds, worker."""
    traceback: str | None
    former: str | None
    """Identity of the result that a change made outdated."""


@dataclass(frozen=True)
class TaskFilter:
    """Which tasks are asked for."""

    job: int | None = None
    step: str | None = None
    states: tuple[ShownState, ...] = ()
    micrograph: int | None = None
    session: int | None = None


def list_tasks(connection: Connection, paging: Paging, visible: frozenset[int] | None, wanted: TaskFilter) -> Page[TaskView]:
    numbers = select(tasks.c.id).order_by(tasks.c.id).limit(paging.limit + 1)
    conditions = {tasks.c.job_id: wanted.job, tasks.c.step: wanted.step, tasks.c.item_id: wanted.micrograph}
    for column, value in conditions.items():
        if value is not None:
            numbers = numbers.where(column == value)
    if wanted.session is not None:
        numbers = numbers.where(tasks.c.job_id.in_(select(jobs.c.id).where(jobs.c.session_id == wanted.session)))
    if wanted.states:
        numbers = numbers.where(is_any_of(list(wanted.states)))
    if visible is not None:
        numbers = numbers.where(tasks.c.job_id.in_(select(jobs.c.id).where(jobs.c.session_id.in_(visible))))
    position = read_cursor(_ORDER, paging.cursor, [int])
    if position:
        numbers = numbers.where(tasks.c.id > position[0])
    # Which they are first, from indexes alone: of 100,000 tasks in a state, only a page is read.
    query = _select_tasks().where(tasks.c.id.in_(numbers)).order_by(tasks.c.id)
    shown = [TaskView(**_describe_task(row)) for row in connection.execute(query)]
    return make_page(_ORDER, shown, paging.limit, lambda task: (task.id,))


def _select_tasks() -> Select[Any]:
    columns = select(tasks, shown_state.label("shown"), items.c.name, jobs.c.session_id)
    return columns.join_from(tasks, jobs).outerjoin(items, items.c.id == tasks.c.item_id)


def _describe_task(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id, "job": row.job_id, "micrograph": row.item_id, "name": row.name, "step": row.step,
        "category": row.category, "backend": row.backend, "state": row.shown, "kind": row.kind, "reason": row.reason,
        "attempt": row.attempt, "worker": row.worker, "started_at": row.started_at, "finished_at": row.finished_at,
    }  # fmt: skip


def get_task(connection: Connection, task_id: int) -> TaskDetail:
    """Raises NotThere."""
    row = connection.execute(_select_tasks().where(tasks.c.id == task_id)).one_or_none()
    if row is None:
        raise NotThere(f"there is no task {task_id}")
    step = find_step(connection, row)
    made = None
    if row.state == "completed":
        made = connection.execute(select(results).where(results.c.identity == row.identity)).one_or_none()
    return TaskDetail(
        **_describe_task(row),
        identity=row.identity,
        version=step.version if step else None,
        parameters=step.params if step else {},
        inputs=_list_inputs(connection, row, step),
        outputs=made.output if made else None,
        provenance=made.provenance if made else {},
        traceback=row.traceback,
        former=row.former,
    )


def find_step(connection: Connection, row: Row[Any]) -> PlannedStep | None:
    """The planned step of a task."""
    if row.category == PREVIEW.category:
        return PlannedStep.model_validate(row.inputs)
    plan = connection.execute(select(jobs.c.plan).where(jobs.c.id == row.job_id)).scalar_one()
    return {step.key: step for step in Plan.model_validate(plan).steps}.get(row.step)


def _list_inputs(connection: Connection, row: Row[Any], step: PlannedStep | None) -> dict[str, Any]:
    if row.inputs is not None and row.item_id is None:
        sample, beside = recall_sample(row.inputs)
        return {**({"items": sample} if sample else {}), **beside}
    if step is None or step.gather or row.item_id is None:
        return {}
    movie = connection.execute(select(items.c.identity).where(items.c.id == row.item_id)).scalar_one()
    query = select(tasks.c.step, tasks.c.identity).where(tasks.c.job_id == row.job_id)
    of_session, of_item = query.where(tasks.c.item_id.is_(None)), query.where(tasks.c.item_id == row.item_id)
    known = {found.step: found.identity for part in (of_session, of_item) for found in connection.execute(part)}
    if not all(known.get(key) for key in step.needs):
        return {}
    return list_inputs(step, movie, known)
