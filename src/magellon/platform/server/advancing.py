"""Moving items on: the pipeline's rules applied to rows of the ledger."""

from collections.abc import Iterable, Mapping, Set
from typing import Any

from sqlalchemy import Connection, Row, Select, String, bindparam, case, func, null, select, update

from magellon.platform.pipeline.advance import OPEN, State, advance_item
from magellon.platform.pipeline.plan import Plan
from magellon.platform.server.book import Book, JobFacts, split
from magellon.platform.server.events import record_changes
from magellon.platform.server.gathering import advance_gathers
from magellon.platform.server.surveying import OUTDATED, advance_surveys, find_results, find_surveys
from magellon.platform.store.batches import execute_many
from magellon.platform.store.schema import items, jobs, tasks

_set_state = (
    update(tasks)
    .where(tasks.c.id == bindparam("of_task"))
    .values(state=bindparam("new_state"), reason=bindparam("new_reason"), kind=bindparam("new_kind"), published=False)
    .values(former=case((bindparam("new_state", type_=String) == "completed", null()), else_=OUTDATED))
)
_find_places = select(tasks.c.id, tasks.c.job_id, tasks.c.item_id, tasks.c.step).where(
    tasks.c.id.in_(bindparam("numbers", expanding=True))
)
_find_of_items: Select[Any] = select(
    tasks.c.id, tasks.c.item_id, tasks.c.step, tasks.c.state, tasks.c.reason, tasks.c.identity
).where(tasks.c.job_id == bindparam("job"), tasks.c.item_id.in_(bindparam("items", expanding=True)))
_find_problem = select(items.c.id, items.c.problem).where(items.c.id.in_(bindparam("items", expanding=True)))

Found = tuple[int, int | None, str]
"""Job, item and step that a task belongs to; gathers and surveys have no item."""


def find_items(connection: Connection, task_numbers: Iterable[int]) -> dict[int, Found]:
    """What tasks belong to, by their number."""
    found: dict[int, Found] = {}
    for part in split(list(task_numbers)):
        rows = connection.execute(_find_places, {"numbers": part})
        found.update({row.id: (row.job_id, row.item_id, row.step) for row in rows})
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
    moved = True
    while moved:
        for part in split(numbers):
            completed += _advance_part(book, connection, job, part)
        moved, done = advance_surveys(book, connection, job, revised)
        completed += done
        numbers, revised = sorted(list_items(connection, job_id)) if moved else [], False
    return completed + advance_gathers(book, connection, job, renew)


def _advance_part(book: Book, connection: Connection, job: JobFacts, item_ids: list[int]) -> list[int]:
    rows = connection.execute(_find_of_items, {"job": job.id, "items": item_ids}).all()
    surveys = {key: State(row.state, row.reason) for key, row in find_surveys(connection, job).items()}
    by_item: dict[int, dict[str, Row[Any]]] = {}
    for row in rows:
        by_item.setdefault(row.item_id, {})[row.step] = row
    problems = _find_problems(connection, by_item)
    judged = job.plan.filter.needs if job.plan.filter else set()
    book.fetch_outputs(connection, [row.identity for row in rows if row.step in judged and row.state == "completed"])
    found: dict[int, dict[str, State]] = {}
    asked: set[str] = set()
    known: set[str] = set()
    wanted = set(by_item)
    while wanted:  # what becomes pending may be known already, and what follows from it too
        for item_id in wanted:
            facts = (by_item[item_id], surveys, known)
            found[item_id] = _advance_to_end(book, connection, job.plan, problems[item_id], facts)
        due: dict[str, set[int]] = {}
        for item_id in wanted:
            for key, state in found[item_id].items():
                if state.state == "pending":
                    due.setdefault(by_item[item_id][key].identity, set()).add(item_id)
        there = find_results(connection, due.keys() - asked)
        asked |= due.keys()
        known |= there
        wanted = {item_id for identity in there for item_id in due[identity]}
    changes: list[dict[str, object]] = []
    completed: list[int] = []
    for item_id, steps in by_item.items():
        for key, state in found[item_id].items():
            kind = "bad_input" if state.state == "failed" else None
            changes.append({"of_task": steps[key].id, "new_state": state.state, "new_reason": state.reason, "new_kind": kind})
            if state.state == "completed":
                completed.append(steps[key].id)
            elif steps[key].state == "completed":
                book.loosened.add(job.id)
    if changes:
        execute_many(connection, _set_state, changes)
        told = [(job.id, int(str(c["of_task"])), str(c["new_state"]), c["new_reason"]) for c in changes]
        record_changes(connection, [(j, t, s, str(r) if r else None) for j, t, s, r in told if s not in OPEN], book.now())
    return completed


def _find_problems(connection: Connection, item_ids: Iterable[int]) -> dict[int, str | None]:
    return {row.id: row.problem for row in connection.execute(_find_problem, {"items": list(item_ids)})}


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


def count_states(connection: Connection, job_id: int) -> dict[str, dict[str, int]]:
    """Number of tasks by step and state."""
    query = select(tasks.c.step, tasks.c.state, func.count().label("number")).where(tasks.c.job_id == job_id)
    counts: dict[str, dict[str, int]] = {}
    for row in connection.execute(query.group_by(tasks.c.step, tasks.c.state)):
        counts.setdefault(row.step, {})[row.state] = row.number
    return counts
