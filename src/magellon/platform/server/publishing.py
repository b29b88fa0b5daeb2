"""From rows that are due to tasks on the bus: never more than a window of them for each backend."""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, or_, select, update

from magellon.contracts.preview import PREVIEW
from magellon.contracts.task import Task
from magellon.platform.pipeline.identity import derive_seed, identify_task, list_inputs
from magellon.platform.pipeline.inputs import build_gather_input, build_input, list_gather_inputs, root_output
from magellon.platform.pipeline.plan import SESSION, PlannedStep
from magellon.platform.pipeline.survey import build_survey_input, recall_sample
from magellon.platform.server.book import Book, JobFacts, split
from magellon.platform.server.gathering import count_settled, settle_items
from magellon.platform.server.surveying import find_surveys
from magellon.platform.store.batches import execute_many
from magellon.platform.store.files import write_atomically
from magellon.platform.store.schema import jobs, tasks

_LARGEST_MESSAGE = 256 << 10
_due = [tasks.c.state == "pending", tasks.c.published.is_(False)]
_ready: Select[Any] = (
    select(tasks.c.id, tasks.c.job_id, tasks.c.item_id, tasks.c.step, tasks.c.category, tasks.c.identity, tasks.c.attempt,
           tasks.c.inputs)
    .where(*_due, or_(tasks.c.not_before <= bindparam("now"), tasks.c.not_before > bindparam("latest")))
    .order_by(tasks.c.id)
    .limit(bindparam("room"))
)  # fmt: skip
_find_due = _ready.where(
    tasks.c.job_id == bindparam("job"), tasks.c.category == bindparam("category"), tasks.c.backend == bindparam("backend")
)
_find_previews = _ready.where(tasks.c.category == PREVIEW.category)
_publish = (
    update(tasks)
    .where(tasks.c.id == bindparam("of_task"))
    .values(published=True, attempt=bindparam("new_attempt"), sequence=None)
)
_count_waiting = (
    select(tasks.c.category, tasks.c.backend, jobs.c.priority, func.count().label("number"))
    .join(jobs)
    .where(tasks.c.state == "pending", tasks.c.published.is_(True))
    .group_by(tasks.c.category, tasks.c.backend, jobs.c.priority)
)
_find_upstream = select(tasks.c.item_id, tasks.c.step, tasks.c.identity).where(
    tasks.c.job_id == bindparam("job"),
    tasks.c.item_id.in_(bindparam("items", expanding=True)),
    tasks.c.step.in_(bindparam("steps", expanding=True)),
)
_place = (
    update(tasks)
    .where(tasks.c.id == bindparam("of_task"), tasks.c.attempt == bindparam("of_attempt"), tasks.c.published)
    .values(sequence=bindparam("new_sequence"))
)
_find_published = select(tasks.c.id, tasks.c.attempt).where(
    tasks.c.id.in_(bindparam("numbers", expanding=True)), tasks.c.published
)


def take_due_tasks(book: Book, connection: Connection, most: int | None = None) -> list[Task]:
    """Tasks to publish now, `most` at most beside previews; in the ledger they count as published under a new attempt number
    when this transaction ends."""
    now = book.now()
    waiting = _count_published(connection)
    taken: list[Task] = []
    taken += _take_previews(book, connection, now)
    left = sys.maxsize if most is None else most
    for job in connection.execute(_find_jobs_with_work).all():
        urgent = job.priority > 0
        facts = book.job(connection, job.id)
        for category, backend in sorted({(step.category, step.backend) for step in facts.plan.steps}):
            lane = (category, backend, urgent)
            room = min(book.policy.window - waiting[lane], left)
            if room > 0:
                wanted = {"job": job.id, "category": category, "backend": backend, "room": room}
                rows = connection.execute(_find_due, {**wanted, **_is_time(book, now)}).all()
                waiting[lane] += len(rows)
                left -= len(rows)
                taken += _build_tasks(book, connection, facts, rows, urgent)
    execute_many(connection, _publish, [{"of_task": task.id, "new_attempt": task.attempt} for task in taken])
    return taken


def _take_previews(book: Book, connection: Connection, now: float) -> list[Task]:
    """Somebody waits for them: they come first, also those of jobs that are paused or done."""
    by_job: dict[int, list[Row[Any]]] = {}
    for row in connection.execute(_find_previews, {"room": book.policy.window, **_is_time(book, now)}):
        by_job.setdefault(row.job_id, []).append(row)
    return [
        task for job, rows in by_job.items() for task in _build_tasks(book, connection, book.job(connection, job), rows, True)
    ]


_find_jobs_with_work = (
    select(jobs.c.id, jobs.c.priority)
    .where(jobs.c.active, ~jobs.c.paused)
    .where(select(tasks.c.id).where(*_due, tasks.c.job_id == jobs.c.id).exists())
    .order_by(jobs.c.priority.desc(), jobs.c.id)
)


def _count_published(connection: Connection) -> Counter[tuple[str, str, bool]]:
    """Tasks on the bus that nobody has begun, by lane."""
    counts: Counter[tuple[str, str, bool]] = Counter()
    for row in connection.execute(_count_waiting):
        counts[row.category, row.backend, row.priority > 0] += row.number
    return counts


def _is_time(book: Book, now: float) -> dict[str, float]:
    """Not waiting before the next attempt. A time that no delay explains was set by a clock that went wrong: it is over."""
    return {"now": now, "latest": now + book.policy.longest_delay}


def _build_tasks(book: Book, connection: Connection, job: JobFacts, rows: Sequence[Row[Any]], urgent: bool) -> list[Task]:
    items = book.fetch_items(connection, [row.item_id for row in rows if row.item_id])
    steps = [
        PlannedStep.model_validate(row.inputs) if row.category == PREVIEW.category else job.plan.step(row.step) for row in rows
    ]
    needed = {source.step for step in steps for source in step.sources.values()} if items else set()
    upstream = _fetch_upstream(book, connection, job, list(items), needed)
    built = []
    for row, step in zip(rows, steps, strict=True):
        known = _describe_task(job, step, row, items[row.item_id].name if row.item_id else None)
        if step.sample is not None:
            built.append(Task(**known, **_give_survey(book, connection, job, step, row), urgent=urgent))
        elif step.gather:
            given = _give_gather(book, connection, job, step, row)
            built.append(Task(**{**known, **given}, urgent=urgent))
        else:
            given = _give_item(book, job, step, items[row.item_id], upstream.get(row.item_id, {}))
            built.append(Task(**known, **given, urgent=urgent))
    return built


def _fetch_upstream(
    book: Book, connection: Connection, job: JobFacts, numbers: list[int], steps: set[str]
) -> dict[int, dict[str, str]]:
    """Identities of these steps by item; their outputs are then at hand in the book."""
    if not steps - {SESSION}:
        return {}
    surveys = {key: row.identity for key, row in find_surveys(connection, job).items()}
    found: dict[int, dict[str, str]] = {number: dict(surveys) for number in numbers}
    for part in split(numbers):
        for row in connection.execute(_find_upstream, {"job": job.id, "items": part, "steps": sorted(steps)}):
            if row.identity:
                found[row.item_id][row.step] = row.identity
    book.fetch_outputs(connection, {identity for steps in found.values() for identity in steps.values() if identity})
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
    }


def _give_item(book: Book, job: JobFacts, step: PlannedStep, item: Row[Any], identities: dict[str, str]) -> dict[str, Any]:
    def output(key: str) -> Mapping[str, Any]:
        return book.root_output(job.plan.step(key).category, identities[key])

    return {"input": build_input(step, item.movie, output), "inputs": list_inputs(step, item.identity, identities)}


def _give_survey(book: Book, connection: Connection, job: JobFacts, step: PlannedStep, row: Row[Any]) -> dict[str, Any]:
    def output(identity: str) -> dict[str, Any]:
        return book.fetch_outputs(connection, [identity])[identity]

    sample, beside = recall_sample(row.inputs)
    return {
        "input": build_survey_input(job.plan, step, sample, output, beside),
        "inputs": {"items": sample, **beside},
    }


def _give_gather(book: Book, connection: Connection, job: JobFacts, step: PlannedStep, row: Row[Any]) -> dict[str, Any]:
    settled = settle_items(connection, job)
    _, beside = recall_sample(row.inputs)
    book.fetch_outputs(connection, [identity for item in settled for identity in item.completed.values()])

    def output(category: str, key: str, identity: str) -> dict[str, Any]:
        return root_output(category, identity, book.fetch_outputs(connection, [identity])[identity])

    value = build_gather_input(job.plan, step, settled, output, beside)
    inputs = list_gather_inputs(job.plan, step, settled, beside)
    identity = identify_task(step, inputs)
    if identity != row.identity:  # of a live session: more has settled since it was due
        kept = {**row.inputs, "count": count_settled(book, connection, step, settled)} if row.inputs else None
        connection.execute(update(tasks).where(tasks.c.id == row.id).values(identity=identity, inputs=kept))
    text = json.dumps(value).encode()
    large = len(text) > _LARGEST_MESSAGE
    return {
        "identity": identity,
        "input": None if large else value,
        "input_file": _write_input(book, identity, text) if large else None,
        "inputs": {**inputs, "items": len(inputs["items"])} if large else inputs,
    }


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
    rows = [{"of_task": task.id, "of_attempt": task.attempt, "new_sequence": number} for task, number in published]
    execute_many(connection, _place, rows)
    unwanted = []
    for part in split(list(published)):
        found = connection.execute(_find_published, {"numbers": [task.id for task, _ in part]})
        current = {(row.id, row.attempt) for row in found}
        unwanted += [number for task, number in part if (task.id, task.attempt) not in current]
    return unwanted
