"""Jobs as people see them."""

from collections.abc import Sequence
from typing import Any

from pydantic import Field
from sqlalchemy import Connection, Row, Select, func, select

from magellon.errors import NotThere
from magellon.platform.pipeline.plan import Plan
from magellon.platform.server.http.paging import Page, Paging, make_page, read_cursor
from magellon.platform.server.http.states import ShownState, shown_state
from magellon.platform.server.http.views.view import View
from magellon.platform.store.schema import jobs, sessions, tasks

_ORDER = "jobs by id"


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


def list_jobs(connection: Connection, paging: Paging, visible: frozenset[int] | None, session: int | None) -> Page[JobView]:
    query = _select_jobs().order_by(jobs.c.id).limit(paging.limit + 1)
    if session is not None:
        query = query.where(jobs.c.session_id == session)
    if visible is not None:
        query = query.where(jobs.c.session_id.in_(visible))
    position = read_cursor(_ORDER, paging.cursor, [int])
    if position:
        query = query.where(jobs.c.id > position[0])
    shown = [JobView(**_describe_job(connection, row)) for row in connection.execute(query).all()]
    return make_page(_ORDER, shown, paging.limit, lambda job: (job.id,))


def get_job(connection: Connection, job_id: int) -> JobDetail:
    """Raises NotThere."""
    row = connection.execute(_select_jobs().where(jobs.c.id == job_id)).one_or_none()
    if row is None:
        raise NotThere(f"there is no job {job_id}")
    return JobDetail(**_describe_job(connection, row), recipe=row.recipe)


def _select_jobs() -> Select[Any]:
    return select(jobs, sessions.c.name.label("session_name")).join_from(jobs, sessions)


def _describe_job(connection: Connection, row: Row[Any]) -> dict[str, Any]:
    steps = count_steps(connection, row.id, Plan.model_validate(row.plan))
    return {
        "id": row.id, "session": row.session_id, "session_name": row.session_name, "paused": row.paused,
        "priority": row.priority, "created_at": row.created_at, "steps": steps, "state": sum_up(steps),
    }  # fmt: skip


def count_steps(connection: Connection, job_id: int, plan: Plan) -> tuple[StepCounts, ...]:
    """In the order of the recipe."""
    shown = shown_state.label("shown")
    query = select(tasks.c.step, shown, func.count().label("number")).where(tasks.c.job_id == job_id)
    counts: dict[str, dict[str, int]] = {}
    for row in connection.execute(query.group_by(tasks.c.step, shown)):
        counts.setdefault(row.step, {})[row.shown] = row.number
    return tuple(StepCounts(step=step.key, backend=step.backend, **counts.get(step.key, {})) for step in plan.steps)


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
