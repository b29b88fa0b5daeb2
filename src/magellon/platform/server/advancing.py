"""Moving items on: the pipeline's rules applied to rows of the ledger."""

from collections.abc import Iterable, Mapping, Set
from typing import Any

from sqlalchemy import Connection, Row, String, bindparam, case, func, null, select, update

from magellon.contracts.preview import PREVIEW
from magellon.platform.pipeline.advance import OPEN, State, advance_item
from magellon.platform.pipeline.inputs import SettledItem, identify_gather, list_gather_inputs
from magellon.platform.pipeline.plan import Plan
from magellon.platform.server.book import Book, JobFacts, split
from magellon.platform.server.events import record_changes
from magellon.platform.server.surveying import FRESH, OUTDATED, advance_surveys, find_results, find_surveys
from magellon.platform.store.schema import items, jobs, tasks

_set_state = (
    update(tasks)
    .where(tasks.c.id == bindparam("of_task"))
    .values(state=bindparam("new_state"), reason=bindparam("new_reason"), kind=bindparam("new_kind"), published=False)
    .values(former=case((bindparam("new_state", type_=String) == "completed", null()), else_=OUTDATED))
)


Found = tuple[int, int | None, str]
"""Job, item and step that a task belongs to; gathers and surveys have no item."""


def find_items(connection: Connection, task_numbers: Iterable[int]) -> dict[int, Found]:
    """What tasks belong to, by their number."""
    found: dict[int, Found] = {}
    for part in split(list(task_numbers)):
        query = select(tasks.c.id, tasks.c.job_id, tasks.c.item_id, tasks.c.step).where(tasks.c.id.in_(part))
        found.update({row.id: (row.job_id, row.item_id, row.step) for row in connection.execute(query)})
    return found


def advance_tasks(book: Book, connection: Connection, task_numbers: Iterable[int]) -> list[int]:
    """Move on whatever depends on these tasks; the numbers of tasks completed on the way because their result is there."""
    return advance_found(book, connection, set(find_items(connection, task_numbers).values()))


def advance_found(book: Book, connection: Connection, touched: Set[Found]) -> list[int]:
    """The same for what `find_items` found."""
    completed: list[int] = []
    for job_id in sorted({job for job, _, _ in touched}):
        surveys = {step.key for step in book.job(connection, job_id).plan.surveys}
        if any(job == job_id and step in surveys for job, _, step in touched):
            numbers = list_items(connection, job_id)  # every item may depend on it
        else:
            numbers = [item for job, item, _ in touched if job == job_id and item is not None]
        completed += advance_items(book, connection, job_id, numbers)
    return completed


def list_items(connection: Connection, job_id: int) -> list[int]:
    query = select(items.c.id).join(jobs, jobs.c.session_id == items.c.session_id).where(jobs.c.id == job_id)
    return list(connection.execute(query).scalars())


def advance_items(book: Book, connection: Connection, job_id: int, item_ids: list[int], revised: bool = False) -> list[int]:
    """Move on these items of a job, its surveys when they are due, and its gathers if everything is settled.

    `revised`: the recipe or the movies changed, so that surveys made before are looked at again.
    """
    job = book.job(connection, job_id)
    completed: list[int] = []
    numbers = sorted(set(item_ids))
    renew = revised
    while numbers:
        for part in split(numbers):
            completed += _advance_part(book, connection, job, part)
        moved, done = advance_surveys(book, connection, job, revised)
        completed += done
        numbers, revised = (sorted(list_items(connection, job_id)), False) if moved else ([], False)
    return completed + _advance_gathers(book, connection, job, renew)


def _advance_part(book: Book, connection: Connection, job: JobFacts, item_ids: list[int]) -> list[int]:
    rows = connection.execute(select(tasks).where(tasks.c.job_id == job.id, tasks.c.item_id.in_(item_ids))).all()
    surveys = {key: State(row.state, row.reason) for key, row in find_surveys(connection, job).items()}
    by_item: dict[int, dict[str, Row[Any]]] = {}
    for row in rows:
        by_item.setdefault(row.item_id, {})[row.step] = row
    problems = _find_problems(connection, by_item)
    judged = job.plan.filter.needs if job.plan.filter else set()
    book.fetch_outputs(connection, [row.identity for row in rows if row.step in judged and row.state == "completed"])
    known = find_results(connection, [row.identity for row in rows if row.state != "completed"])
    changes: list[dict[str, object]] = []
    completed: list[int] = []
    for item_id, steps in by_item.items():
        for key, state in _advance_to_end(book, connection, job.plan, problems[item_id], (steps, surveys, known)).items():
            kind = "bad_input" if state.state == "failed" else None
            changes.append({"of_task": steps[key].id, "new_state": state.state, "new_reason": state.reason, "new_kind": kind})
            if state.state == "completed":
                completed.append(steps[key].id)
            elif steps[key].state == "completed":
                book.loosened.add(job.id)
    if changes:
        connection.execute(_set_state, changes)
        told = [(job.id, int(str(c["of_task"])), str(c["new_state"]), c["new_reason"]) for c in changes]
        record_changes(connection, [(j, t, s, str(r) if r else None) for j, t, s, r in told if s not in OPEN], book.now())
    return completed


def _find_problems(connection: Connection, item_ids: Iterable[int]) -> dict[int, str | None]:
    query = select(items.c.id, items.c.problem).where(items.c.id.in_(list(item_ids)))
    return {row.id: row.problem for row in connection.execute(query)}


def _advance_to_end(
    book: Book,
    connection: Connection,
    plan: Plan,
    problem: str | None,
    facts: tuple[Mapping[str, Row[Any]], Mapping[str, State], set[str]],
) -> dict[str, State]:
    """A task whose result is there already is completed at once, which may move on the next.

    `facts`: the item's rows by step, the surveys' states, identities of results that are there.
    """
    steps, surveys, known = facts
    before = {**surveys, **{key: State(row.state, row.reason) for key, row in steps.items()}}
    states = dict(before)

    def output(step: str) -> dict[str, Any]:
        return book.fetch_outputs(connection, [steps[step].identity])[steps[step].identity]

    while changes := advance_item(plan, problem, states, output):
        for key, state in changes.items():
            there = state.state == "pending" and steps[key].identity in known
            states[key] = State("completed") if there else state
    return {key: state for key, state in states.items() if state.state != before[key].state or _moved(state, before[key])}


def _moved(state: State, before: State) -> bool:
    """Whether the reason changed of a state that has one of the pipeline's making."""
    return state.state in ("held", "skipped") and state.reason != before.reason


def _advance_gathers(book: Book, connection: Connection, job: JobFacts, revised: bool) -> list[int]:
    """Make gathers due when all items are settled; one that was cancelled stays so until it is retried or the job `revised`."""
    if not job.plan.gathers:
        return []
    of_job = select(tasks).where(tasks.c.job_id == job.id)
    open_item = select(tasks.c.id).where(tasks.c.job_id == job.id, tasks.c.state.in_(OPEN), tasks.c.item_id.is_not(None))
    open_item = open_item.where(tasks.c.category != PREVIEW.category)  # made for people, not for results
    found = connection.execute(of_job.where(tasks.c.item_id.is_(None)))
    rows = {row.step: row for row in found if row.step in {step.key for step in job.plan.gathers}}
    if job.live:
        return _advance_live_gathers(book, connection, job, list(rows.values()))
    if revised:
        _revive_gathers(connection, [row.id for row in rows.values() if row.state == "cancelled"])
        rows = {row.step: row for row in connection.execute(of_job.where(tasks.c.id.in_([row.id for row in rows.values()])))}
    if connection.execute(open_item.limit(1)).first():
        late = [row.id for row in rows.values() if row.state not in ("waiting", "running", "cancelled")]
        if late:
            values = {"state": "waiting", "published": False, "former": OUTDATED}
            connection.execute(update(tasks).where(tasks.c.id.in_(late)).values(**values))
        return []
    inputs = list_gather_inputs(job.plan, settle_items(connection, job))
    return [
        number
        for step in job.plan.gathers
        if (number := _advance_gather(connection, rows[step.key], identify_gather(job.plan, step, inputs))) is not None
    ]


def _advance_live_gathers(book: Book, connection: Connection, job: JobFacts, rows: list[Row[Any]]) -> list[int]:
    """While movies come, a gather takes those that are settled, now and then; what it made before stays until it is done."""
    open_item = select(tasks.c.id).where(tasks.c.job_id == job.id, tasks.c.state.in_(OPEN), tasks.c.item_id.is_not(None))
    busy = connection.execute(open_item.limit(1)).first() is not None
    settled_item = select(tasks.c.id).where(tasks.c.job_id == job.id, tasks.c.step == job.plan.item_steps[-1].key)
    if connection.execute(settled_item.where(tasks.c.state.not_in(OPEN)).limit(1)).first() is None:
        return []
    if any(row.state in ("pending", "running") for row in rows):
        book.late_gathers.add(job.id)
        return []
    if book.put_off_gathers(job.id, book.policy.gather_interval if busy else book.policy.gather_pause):
        return []
    settled = settle_items(connection, job)
    if not any(item.completed for item in settled):
        return []
    inputs = list_gather_inputs(job.plan, settled)
    made = (_advance_gather(connection, row, identify_gather(job.plan, job.plan.step(row.step), inputs)) for row in rows)
    return [number for number in made if number is not None]


def _revive_gathers(connection: Connection, numbers: list[int]) -> None:
    if numbers:
        connection.execute(update(tasks).where(tasks.c.id.in_(numbers)).values(**FRESH))


def _advance_gather(connection: Connection, row: Row[Any], identity: str) -> int | None:
    if row.state == "cancelled" or (row.identity == identity and row.state not in ("waiting", "skipped")):
        return None
    there = identity in find_results(connection, [identity])
    values = {"identity": identity, "state": "completed" if there else "pending", "former": null() if there else OUTDATED}
    connection.execute(update(tasks).where(tasks.c.id == row.id).values(**{**FRESH, **values}))
    return int(row.id) if there else None


def settle_items(connection: Connection, job: JobFacts) -> list[SettledItem]:
    """All items of a job with what was completed for them and why they are held; in a live session those that are settled."""
    query = (
        select(items.c.name, items.c.movie, items.c.identity.label("movie_identity"), tasks.c.step, tasks.c.state,
               tasks.c.reason, tasks.c.identity)
        .join(tasks, tasks.c.item_id == items.c.id)
        .where(tasks.c.job_id == job.id)
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


def count_states(connection: Connection, job_id: int) -> dict[str, dict[str, int]]:
    """Number of tasks by step and state."""
    query = select(tasks.c.step, tasks.c.state, func.count().label("number")).where(tasks.c.job_id == job_id)
    counts: dict[str, dict[str, int]] = {}
    for row in connection.execute(query.group_by(tasks.c.step, tasks.c.state)):
        counts.setdefault(row.step, {})[row.state] = row.number
    return counts
