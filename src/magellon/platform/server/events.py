"""What workers report, entered into the ledger: one transaction for a batch, and the same again if it comes twice."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, bindparam, case, select, update

from magellon.contracts.task import Failed, Finished, Reports, Started
from magellon.platform.server.book import Book, split
from magellon.platform.server.policy import Policy
from magellon.platform.store.batches import execute_many
from magellon.platform.store.inserting import insert_if_absent
from magellon.platform.store.schema import events, results, tasks

Event = Started | Finished | Failed
_UNFINISHED = ("pending", "running")

# Statements that are run for every batch are made once: making one costs more than running it.
_start = (
    update(tasks)
    .where(tasks.c.id == bindparam("of_task"), tasks.c.attempt == bindparam("of_attempt"))
    .where(tasks.c.state == "pending", tasks.c.published)
    .values(
        state="running",
        worker=bindparam("of_worker"),
        incarnation=bindparam("of_incarnation"),
        lost=tasks.c.lost + bindparam("of_lost"),
        started_at=bindparam("now"),
        reason=None,
    )
)
# The state is looked at outside: asked for it too, SQLite goes through all tasks of that state instead of these few.
_find_by_identity = select(tasks.c.id, tasks.c.job_id, tasks.c.state, tasks.c.identity).where(
    tasks.c.identity.in_(bindparam("identities", expanding=True))
)
_complete = (
    update(tasks)
    .where(tasks.c.id.in_(bindparam("numbers", expanding=True)))
    .values(
        state="completed",
        worker=bindparam("of_worker"),
        # Of a task that ended at once nobody said that it began.
        started_at=case((tasks.c.state == "running", tasks.c.started_at), else_=bindparam("now")),
        finished_at=bindparam("now"),
        reason=None,
        kind=None,
        traceback=None,
        published=False,
        former=None,
    )
)
_record = events.insert()


def read_events(data: bytes) -> tuple[Event, ...]:
    """Raises pydantic.ValidationError for anything else."""
    return Reports.model_validate_json(data).reports


def enter_events(book: Book, connection: Connection, batch: Sequence[Event]) -> list[int]:
    """Enter a batch; the numbers of the tasks that settled or will be tried again."""
    now = book.now()
    _enter_started(connection, [event for event in batch if isinstance(event, Started)], now)
    touched = _enter_finished(book, connection, [event for event in batch if isinstance(event, Finished)], now)
    for event in batch:
        if isinstance(event, Failed) and _enter_failed(book.policy, connection, event, now):
            touched.append(event.task)
    return touched


def _enter_started(connection: Connection, batch: Iterable[Started], now: float) -> None:
    rows = [
        {
            "of_task": e.task,
            "of_attempt": e.attempt,
            "of_worker": e.worker,
            "of_incarnation": e.incarnation,
            "of_lost": e.lost,
            "now": now,
        }
        for e in batch
    ]
    execute_many(connection, _start, rows)


def _enter_finished(book: Book, connection: Connection, batch: Sequence[Finished], now: float) -> list[int]:
    if not batch:
        return []
    rows = [
        {"identity": e.identity, "output": e.output, "provenance": {**e.provenance, "worker": e.worker}, "created_at": now}
        for e in batch
    ]
    insert_if_absent(connection, results, rows)
    for event in batch:
        book.keep_output(event.identity, event.output)
    return _complete_tasks(connection, {event.identity: event.worker for event in batch}, now)


def _complete_tasks(connection: Connection, workers: Mapping[str, str], now: float) -> list[int]:
    """Every task of these identities that waits or runs is completed, in whatever job. `workers`: who made which result."""
    touched: list[int] = []
    for part in split(list(workers)):
        rows = connection.execute(_find_by_identity, {"identities": part})
        found = [row for row in rows if row.state in _UNFINISHED]
        by_worker: dict[str, list[int]] = {}
        for row in found:
            by_worker.setdefault(workers[row.identity], []).append(row.id)
        for worker, numbers in by_worker.items():
            connection.execute(_complete, {"numbers": numbers, "of_worker": worker or None, "now": now})
            touched += numbers
        record_changes(connection, [(row.job_id, row.id, "completed", None) for row in found], now)
    return touched


def record_changes(connection: Connection, changes: Iterable[tuple[int, int | None, str, str | None]], now: float) -> None:
    """Lines of the live view: (job, task or None for the job as a whole, state, reason)."""
    rows = [{"at": now, "job_id": job, "task_id": task, "kind": kind, "text": text} for job, task, kind, text in changes]
    execute_many(connection, _record, rows)


def _enter_failed(policy: Policy, connection: Connection, event: Failed, now: float) -> bool:
    """False when the report is about an attempt that no longer counts."""
    row = connection.execute(select(tasks).where(tasks.c.id == event.task)).one_or_none()
    if row is None or row.attempt != event.attempt or row.state not in _UNFINISHED or not row.published:
        return False
    failures = row.failures + (0 if event.kind == "cancelled" else 1)
    most = {"transient": policy.transient_attempts, "defect": policy.defect_attempts}.get(event.kind, 1)
    values: dict[str, object] = {
        "failures": failures,
        "kind": event.kind,
        "reason": event.message,
        "traceback": event.traceback or None,
        "published": False,
        "sequence": None,
    }
    if event.kind == "cancelled" or failures < most:
        delay = min(policy.transient_delay * 2 ** (failures - 1), policy.longest_delay) if event.kind == "transient" else 0.0
        values.update(state="pending", not_before=now + delay)
    else:
        values.update(state="failed", finished_at=now)
        record_changes(connection, [(row.job_id, row.id, "failed", event.message)], now)
    connection.execute(update(tasks).where(tasks.c.id == event.task).values(**values))
    return True


def enter_lost(policy: Policy, connection: Connection, task: int, worker: str, now: float, delay: float = 0.0) -> None:
    """The worker of a running task went away, perhaps because of it; it is tried again after `delay` seconds."""
    row = connection.execute(select(tasks).where(tasks.c.id == task, tasks.c.state == "running")).one_or_none()
    if row is None:
        return
    lost = row.lost + 1
    values: dict[str, object] = {"lost": lost, "published": False, "sequence": None, "worker": None, "incarnation": None}
    if lost >= policy.lost_attempts:
        reason = f"given up: {lost} times the worker that computed it went away (last: {worker})"
        values.update(state="failed", kind="lost", reason=reason, finished_at=now)
        record_changes(connection, [(row.job_id, row.id, "failed", reason)], now)
    else:
        values.update(state="pending", not_before=now + delay)
    connection.execute(update(tasks).where(tasks.c.id == task).values(**values))
