"""From rows that are due to tasks on the bus: never more than a window of them for each backend."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update

from magellon.contracts.preview import PREVIEW
from magellon.contracts.task import Task
from magellon.platform.pipeline.identity import derive_seed, list_inputs
from magellon.platform.pipeline.inputs import build_gather_input, build_input, list_gather_inputs, root_output
from magellon.platform.pipeline.plan import PlannedStep
from magellon.platform.pipeline.survey import build_survey_input
from magellon.platform.server.advancing import settle_items
from magellon.platform.server.book import Book, JobFacts, split
from magellon.platform.server.surveying import find_surveys
from magellon.platform.store.files import write_atomically
from magellon.platform.store.schema import jobs, tasks

_LARGEST_MESSAGE = 256 << 10
_due = [tasks.c.state == "pending", tasks.c.published.is_(False)]


def take_due_tasks(book: Book, connection: Connection) -> list[Task]:
    """Tasks to publish now; in the ledger they count as published under a new attempt number when this transaction ends."""
    now = time.time()
    waiting = {(row.category, row.backend): row.number for row in connection.execute(_count_published())}
    query = select(tasks.c.category, tasks.c.backend).where(*_due, tasks.c.not_before <= now).distinct()
    taken: list[Task] = []
    for category, backend in connection.execute(query).all():
        room = book.policy.window - waiting.get((category, backend), 0)
        if room > 0:
            may_run = (jobs.c.active & ~jobs.c.paused) | (tasks.c.category == PREVIEW.category)  # somebody waits for a preview
            of_backend = select(tasks, jobs.c.priority).join(jobs).where(*_due, tasks.c.not_before <= now, may_run)
            of_backend = of_backend.where(tasks.c.category == category, tasks.c.backend == backend)
            rows = connection.execute(of_backend.order_by(jobs.c.priority.desc(), tasks.c.id).limit(room)).all()
            taken += _build_tasks(book, connection, rows)
    if taken:
        statement = update(tasks).where(tasks.c.id == bindparam("of_task"))
        statement = statement.values(published=True, attempt=bindparam("new_attempt"), sequence=None)
        connection.execute(statement, [{"of_task": task.id, "new_attempt": task.attempt} for task in taken])
    return taken


def _count_published() -> Any:
    query = select(tasks.c.category, tasks.c.backend, func.count().label("number"))
    return query.where(tasks.c.state == "pending", tasks.c.published).group_by(tasks.c.category, tasks.c.backend)


def find_next_due(connection: Connection) -> float | None:
    """When the next task that waits for its time is due."""
    return connection.execute(select(func.min(tasks.c.not_before)).where(*_due)).scalar()


def _build_tasks(book: Book, connection: Connection, rows: Sequence[Row[Any]]) -> list[Task]:
    items = book.fetch_items(connection, [row.item_id for row in rows if row.item_id])
    upstream = _fetch_upstream(book, connection, rows)
    built = []
    for row in rows:
        job = book.job(connection, row.job_id)
        on_request = row.category == PREVIEW.category and row.inputs is not None
        step = PlannedStep.model_validate(row.inputs) if on_request else job.plan.step(row.step)
        if step.sample is not None:
            built.append(_build_survey(book, connection, job, step, row))
        elif step.gather:
            built.append(_build_gather(book, connection, job, step, row))
        else:
            identities = upstream[row.job_id, row.item_id]
            built.append(_build_task(book, connection, job, step, (row, items[row.item_id], identities)))
    return built


def _fetch_upstream(book: Book, connection: Connection, rows: Sequence[Row[Any]]) -> dict[tuple[int, int], dict[str, str]]:
    """Identities of all steps by job and item; their outputs are then at hand in the book."""
    found: dict[tuple[int, int], dict[str, str]] = {}
    for job_id in {row.job_id for row in rows}:
        numbers = [row.item_id for row in rows if row.job_id == job_id and row.item_id]
        surveys = {key: row.identity for key, row in find_surveys(connection, book.job(connection, job_id)).items()}
        query = select(tasks.c.item_id, tasks.c.step, tasks.c.identity)
        for row in connection.execute(query.where(tasks.c.job_id == job_id, tasks.c.item_id.in_(numbers))):
            found.setdefault((job_id, row.item_id), dict(surveys))[row.step] = row.identity
    book.fetch_outputs(connection, [identity for steps in found.values() for identity in steps.values() if identity])
    return found


def _describe_task(job: JobFacts, step: PlannedStep, row: Row[Any], item: str | None = None) -> dict[str, Any]:
    """What a task has besides its input; without an item it is one of the whole session."""
    return {
        "id": row.id,
        "attempt": row.attempt + 1,
        "identity": row.identity,
        "category": step.category,
        "backend": step.backend,
        "version": step.version,
        "label": " ".join(word for word in (job.session, step.key, item) if word),
        "params": step.params,
        "files_in_params": step.params != step.identity_params,
        "seed": derive_seed(step, item or job.session),
        "urgent": row.priority > 0 or step.category == PREVIEW.category,
    }


def _build_task(
    book: Book, connection: Connection, job: JobFacts, step: PlannedStep, of: tuple[Row[Any], Row[Any], dict[str, str]]
) -> Task:
    row, item, identities = of

    def output(key: str) -> dict[str, Any]:
        identity = identities[key]
        found = book.fetch_outputs(connection, [identity])[identity]
        return root_output(job.plan.step(key).category, identity, found)

    return Task(
        **_describe_task(job, step, row, item.name),
        input=build_input(step, item.movie, output),
        inputs=list_inputs(step, item.identity, identities),
    )


def _build_survey(book: Book, connection: Connection, job: JobFacts, step: PlannedStep, row: Row[Any]) -> Task:
    def output(identity: str) -> dict[str, Any]:
        return book.fetch_outputs(connection, [identity])[identity]

    return Task(
        **_describe_task(job, step, row),
        input=build_survey_input(job.plan, step, row.inputs, output),
        inputs={"items": row.inputs},
    )


def _build_gather(book: Book, connection: Connection, job: JobFacts, step: PlannedStep, row: Row[Any]) -> Task:
    settled = settle_items(connection, job)
    book.fetch_outputs(connection, [identity for item in settled for identity in item.completed.values()])

    def output(category: str, key: str, identity: str) -> dict[str, Any]:
        return root_output(category, identity, book.fetch_outputs(connection, [identity])[identity])

    value = build_gather_input(job.plan, step, settled, output)
    inputs = list_gather_inputs(job.plan, settled)
    text = json.dumps(value).encode()
    large = len(text) > _LARGEST_MESSAGE
    return Task(
        **_describe_task(job, step, row),
        input=None if large else value,
        input_file=_write_input(book, row.identity, text) if large else None,
        inputs={"items": len(settled)} if large else {"items": inputs},
    )


def _write_input(book: Book, identity: str, text: bytes) -> str:
    """An input too large for a message travels as a file on the shared filesystem."""
    path = Path("results/.inputs") / f"{identity}.json"
    (book.home.root / path.parent).mkdir(exist_ok=True)
    write_atomically(book.home.root / path, text)
    return f"home:{path.as_posix()}"


def enter_sequences(connection: Connection, published: Sequence[tuple[Task, int]]) -> list[int]:
    """Where in the stream each task went, so that it can be found, or taken back, there.

    The positions of those that nobody wants any more: cancelled, paused or changed while they were on their way.
    """
    if not published:
        return []
    statement = update(tasks).where(tasks.c.id == bindparam("of_task"), tasks.c.attempt == bindparam("of_attempt"))
    rows = [{"of_task": task.id, "of_attempt": task.attempt, "new_sequence": number} for task, number in published]
    connection.execute(statement.where(tasks.c.published).values(sequence=bindparam("new_sequence")), rows)
    unwanted = []
    for part in split(list(published)):
        query = select(tasks.c.id, tasks.c.attempt).where(tasks.c.id.in_([task.id for task, _ in part]))
        current = {(row.id, row.attempt) for row in connection.execute(query.where(tasks.c.published))}
        unwanted += [number for task, number in part if (task.id, task.attempt) not in current]
    return unwanted
