"""Gathers in the ledger: when all is settled they are due, and while a session grows now and then.

What a gather takes beside the results of items, and how much there was, is kept in its row, so that it is the same when its
task is made.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, null, select, update

from magellon.contracts.preview import PREVIEW
from magellon.platform.pipeline.advance import OPEN, State
from magellon.platform.pipeline.identity import identify_task
from magellon.platform.pipeline.inputs import Beside, SettledItem, count_enough, is_usable, list_gather_inputs
from magellon.platform.pipeline.plan import MOVIE, Plan, PlannedStep
from magellon.platform.server.book import Book, JobFacts
from magellon.platform.server.surveying import FRESH, OUTDATED, find_beside, find_lack, find_results
from magellon.platform.store.identity import hash_canonical
from magellon.platform.store.schema import items, tasks

_UNDER_WAY = ("pending", "running")

_find_of_session: Select[Any] = select(tasks).where(tasks.c.job_id == bindparam("job"), tasks.c.item_id.is_(None))
_find_open_item = (
    select(tasks.c.id)
    .where(tasks.c.job_id == bindparam("job"), tasks.c.state.in_(sorted(OPEN)), tasks.c.item_id.is_not(None))
    .where(tasks.c.category != PREVIEW.category)  # made for people, not for results
    .limit(1)
)


@dataclass(frozen=True)
class _Due:
    """What a gather would be made from now."""

    beside: dict[str, list[str]]
    count: int | None
    by: str
    """With which settings of itself and of all before it; what it made with others is no start."""

    def keep(self) -> dict[str, Any]:
        return {"beside": self.beside, "count": self.count, "by": self.by}


def advance_gathers(book: Book, connection: Connection, job: JobFacts, revised: bool) -> list[int]:
    """Make gathers due when all items are settled; numbers of those completed at once because their result is there.

    One that was cancelled stays so until it is retried or the job `revised`.
    """
    if not job.plan.gathers:
        return []
    rows = _find_rows(connection, job)
    if job.live:
        return _advance_live_gathers(book, connection, job, rows)
    if revised:
        _revive_gathers(connection, [row.id for row in rows.values() if row.state == "cancelled"])
        rows = _find_rows(connection, job)
    if _is_busy(connection, job):
        late = [
            rows[step.key].id for step in job.plan.gathers if rows[step.key].state not in ("waiting", "running", "cancelled")
        ]
        if late:
            values = {"state": "waiting", "published": False, "former": OUTDATED}
            connection.execute(update(tasks).where(tasks.c.id.in_(late)).values(**values))
        return []
    settled = settle_items(connection, job)
    completed = []
    for step in job.plan.gathers:
        if _advance_gather(book, connection, job, (step, rows), settled):
            completed.append(rows[step.key].id)
            rows = _find_rows(connection, job)
    return completed


def _find_rows(connection: Connection, job: JobFacts) -> dict[str, Row[Any]]:
    """Gathers and surveys by step."""
    return {row.step: row for row in connection.execute(_find_of_session, {"job": job.id})}


def _is_busy(connection: Connection, job: JobFacts) -> bool:
    return connection.execute(_find_open_item, {"job": job.id}).first() is not None


def _advance_live_gathers(book: Book, connection: Connection, job: JobFacts, rows: Mapping[str, Row[Any]]) -> list[int]:
    """While movies come, a gather takes those that are settled, now and then; what it made before stays until it is done."""
    settled_item = select(tasks.c.id).where(tasks.c.job_id == job.id, tasks.c.step == job.plan.steps_of(MOVIE)[-1].key)
    if connection.execute(settled_item.where(tasks.c.state.not_in(OPEN)).limit(1)).first() is None:
        return []
    steps = [step for step in job.plan.gathers if rows[step.key].state not in _UNDER_WAY]
    if len(steps) < len(job.plan.gathers):
        book.late_gathers.add(job.id)
    if not steps:
        return []
    pause = book.policy.gather_interval if _is_busy(connection, job) else book.policy.gather_pause
    if book.put_off_gathers(job.id, pause):
        return []
    settled = settle_items(connection, job)
    if not any(item.completed for item in settled):
        return []
    return [rows[step.key].id for step in steps if _advance_gather(book, connection, job, (step, rows), settled)]


def _revive_gathers(connection: Connection, numbers: list[int]) -> None:
    if numbers:
        connection.execute(update(tasks).where(tasks.c.id.in_(numbers)).values(**FRESH))


def _advance_gather(
    book: Book,
    connection: Connection,
    job: JobFacts,
    gather: tuple[PlannedStep, Mapping[str, Row[Any]]],
    settled: Sequence[SettledItem],
) -> bool:
    """Whether it is completed at once because its result is there."""
    step, rows = gather
    row = rows[step.key]
    if row.state == "cancelled":
        return False
    due = _find_due(book, connection, job, gather, settled)
    if isinstance(due, State):
        if (row.state, row.reason) != (due.state, due.reason):
            if row.state == "completed":
                book.loosened.add(job.id)
            values = {**FRESH, "state": due.state, "reason": due.reason, "former": OUTDATED}
            connection.execute(update(tasks).where(tasks.c.id == row.id).values(**values))
        return False
    identity = identify_task(step, list_gather_inputs(job.plan, step, settled, due.beside))
    if row.identity == identity and row.state not in ("waiting", "skipped"):
        return False
    if row.state in _UNDER_WAY and _is_first_of_two(job.plan, step, row, settled):
        return False
    there = identity in find_results(connection, [identity])
    values = {"identity": identity, "state": "completed" if there else "pending", "former": null() if there else OUTDATED}
    connection.execute(update(tasks).where(tasks.c.id == row.id).values(**{**FRESH, **values, "inputs": due.keep()}))
    return there


def _is_first_of_two(plan: Plan, step: PlannedStep, row: Row[Any], settled: Sequence[SettledItem]) -> bool:
    """Whether it is made of these items, only without what other gathers made of them since: that comes afterwards."""
    return step.contract.Item is None and identify_task(step, list_gather_inputs(plan, step, settled)) == row.identity


def _find_due(
    book: Book,
    connection: Connection,
    job: JobFacts,
    gather: tuple[PlannedStep, Mapping[str, Row[Any]]],
    settled: Sequence[SettledItem],
) -> _Due | State:
    """What it is to be made from now; or the state it has to be in instead, and why."""
    step, rows = gather
    row = rows[step.key]
    if step.contract.Item is None:  # takes of other gathers what there is
        found = {
            name: [rows[source.step].identity, source.field]
            for name, source in step.beside.items()
            if rows[source.step].state == "completed"
        }
        return _Due(found, None, "")
    beside = find_beside(job, step, rows)
    if isinstance(beside, State):
        return beside
    usable = [item for item in settled if is_usable(step, item)]
    if not usable:
        return State("waiting") if job.live else State("skipped", "no movie got as far as that")
    if step.enough is None:
        return _Due(beside, None, "")
    count = count_settled(book, connection, step, usable) or 0
    if not job.live:
        lack = find_lack(step, count)
        return State("skipped", lack) if lack else _Due(beside, count, "")
    return _find_live_due(step, row, beside, count, hash_settings(job.plan, step))


def count_settled(book: Book, connection: Connection, step: PlannedStep, settled: Sequence[SettledItem]) -> int | None:
    """How much there is to gather; None where nothing is counted."""
    if step.enough is None:
        return None
    maker = step.sources[step.enough.field].step
    made = [item.completed[maker] for item in settled if is_usable(step, item)]
    outputs = book.fetch_outputs(connection, made)
    return count_enough(step, [outputs[identity] for identity in made])


def _find_live_due(step: PlannedStep, row: Row[Any], beside: Beside, count: int, by: str) -> _Due | State:
    """While a session grows: when there is enough, again when there is much more, and from where the last one ended."""
    assert step.enough is not None
    last = row.inputs if row.inputs and row.inputs.get("by") == by else None
    wanted = max(step.enough.at_least, step.enough.live_at_least)
    if last and row.state in ("completed", "failed"):
        wanted = max(wanted, int(step.enough.live_again * last["count"]))
    if count < wanted:
        return State(row.state, row.reason)
    found = {name: list(origin) for name, origin in beside.items()}
    for name, field in step.resumes.items():
        if last and row.state == "completed":
            found[name] = [row.identity, field]
        elif last and name in last["beside"]:
            found[name] = last["beside"][name]
    return _Due(found, count, by)


def hash_settings(plan: Plan, step: PlannedStep) -> str:
    """The settings by which a step and all that it goes back to are made."""
    known: dict[str, Any] = {}
    wanted = [step.key]
    while wanted:
        each = plan.step(wanted.pop())
        if each.key not in known:
            known[each.key] = [each.category, each.backend, each.version, each.identity_params]
            wanted += each.needs | each.waits
    return hash_canonical(known)


def settle_items(connection: Connection, job: JobFacts) -> list[SettledItem]:
    """All movies of a job with what was completed for them and why they are held; in a live session those that are settled."""
    query = (
        select(items.c.name, items.c.movie, items.c.identity.label("movie_identity"), tasks.c.step, tasks.c.state,
               tasks.c.reason, tasks.c.identity)
        .join(tasks, tasks.c.item_id == items.c.id)
        .where(tasks.c.job_id == job.id, items.c.kind == MOVIE)
    )  # fmt: skip
    found: dict[str, dict[str, Any]] = {}
    unsettled: set[str] = set()
    for row in connection.execute(query):
        if job.live and row.state in OPEN:
            unsettled.add(row.name)
        item = found.setdefault(
            row.name, {"movie": row.movie, "movie_identity": row.movie_identity, "completed": {}, "held": ()}
        )
        if row.state == "completed":
            item["completed"][row.step] = row.identity
        elif row.state == "held":
            item["held"] = (row.reason,)
    return [SettledItem(name=name, **values) for name, values in sorted(found.items()) if name not in unsettled]
