"""What people are told: progress while a job runs, a summary at its end."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from magellon.contracts import PREVIEW, Record
from magellon.contracts.task import Running
from magellon.platform.pipeline.advance import OPEN
from magellon.platform.pipeline.plan import MOVIE
from magellon.platform.server.advancing import count_states
from magellon.platform.server.book import Book, JobFacts
from magellon.platform.store.schema import items, tasks


class RunningTask(Record):
    """A task at work."""

    step: str
    item: str
    fraction: float = 0.0
    message: str = ""


class StepProgress(Record):
    """Tasks of one step by state; `pending` also counts those that wait for an earlier step."""

    step: str
    pending: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    held: int = 0
    skipped: int = 0
    cancelled: int = 0


class Progress(Record):
    """A job at one moment."""

    job: int
    steps: tuple[StepProgress, ...]
    running: tuple[RunningTask, ...] = ()
    settled: bool


class Trouble(Record):
    """A task that did not complete, or a micrograph that is held."""

    step: str
    item: str
    kind: str
    reason: str
    log: str | None = None
    """Its log file."""


class Summary(Record):
    """How a session went."""

    session: str
    folder: str
    steps: tuple[StepProgress, ...]
    failures: tuple[Trouble, ...]
    held: tuple[Trouble, ...]
    left_out: tuple[Trouble, ...] = ()
    """Steps of the session as a whole that there was not enough for."""
    ok: bool
    """Whether the session as a whole could be processed: its files are written and some movie got through."""


def is_settled(connection: Connection, job: int) -> bool:
    query = (
        select(tasks.c.id).where(tasks.c.job_id == job, tasks.c.state.in_(OPEN), tasks.c.category != PREVIEW.category).limit(1)
    )
    return connection.execute(query).first() is None


def list_steps(connection: Connection, job: JobFacts) -> tuple[StepProgress, ...]:
    """Steps in the order of the recipe, without those for pictures of the grid where there are none."""
    counts = count_states(connection, job.id)
    steps = []
    for name in (step.key for step in job.plan.steps if step.kind == MOVIE or step.key in counts):
        states = dict(counts.get(name, {}))
        waiting = states.pop("waiting", 0)
        states["pending"] = states.get("pending", 0) + waiting
        steps.append(StepProgress(step=name, **states))
    return tuple(steps)


def make_progress(connection: Connection, job: JobFacts, mentioned: Mapping[tuple[int, int], Running]) -> Progress:
    """`mentioned`: what workers say of the attempts they compute, by task and attempt."""
    query = select(tasks.c.id, tasks.c.attempt, tasks.c.step, items.c.name).outerjoin(items, items.c.id == tasks.c.item_id)
    running = []
    for row in connection.execute(query.where(tasks.c.job_id == job.id, tasks.c.state == "running").limit(64)):
        said = mentioned.get((row.id, row.attempt))
        detail: dict[str, Any] = {"fraction": said.fraction, "message": said.message} if said else {}
        running.append(RunningTask(step=row.step, item=row.name or "", **detail))
    return Progress(
        job=job.id, steps=list_steps(connection, job), running=tuple(running), settled=is_settled(connection, job.id)
    )


def make_summary(book: Book, connection: Connection, job: int) -> Summary:
    facts = book.job(connection, job)
    query = select(tasks, items.c.name).outerjoin(items, items.c.id == tasks.c.item_id).where(tasks.c.job_id == job)
    failures: list[Trouble] = []
    held: dict[str, Trouble] = {}
    left_out: list[Trouble] = []
    troubled = tasks.c.state.in_(("failed", "held")) | ((tasks.c.state == "skipped") & tasks.c.item_id.is_(None))
    for row in connection.execute(query.where(troubled).order_by(items.c.name, tasks.c.id)):
        name = row.name or "session"
        log = book.store.log_path(row.identity or "none")
        trouble = Trouble(
            step=row.step, item=name, kind=row.kind or "held", reason=row.reason or "", log=str(log) if log.exists() else None
        )
        if row.state == "failed":
            failures.append(trouble)
        elif row.state == "skipped":
            left_out.append(trouble.model_copy(update={"kind": "skipped"}))
        else:
            held.setdefault(name, trouble)
    steps = list_steps(connection, facts)
    last = {step.step: step for step in steps}
    through = [last[step.key] for step in facts.plan.steps_of(MOVIE)[-1:]]
    return Summary(
        session=facts.session,
        folder=str(book.home.sessions / facts.session),
        steps=steps,
        failures=tuple(failures),
        held=tuple(held.values()),
        left_out=tuple(left_out),
        ok=all(step.completed or step.held for step in through)
        and all(last[step.key].completed or last[step.key].skipped for step in facts.plan.gathers),
    )
