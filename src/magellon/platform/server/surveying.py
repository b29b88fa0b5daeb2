"""Surveys in the ledger: when their sample is decided they get their identity, and with it all that depends on them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, select, update

from magellon.platform.pipeline.advance import State
from magellon.platform.pipeline.identity import identify_item
from magellon.platform.pipeline.inputs import count_enough
from magellon.platform.pipeline.plan import PlannedStep
from magellon.platform.pipeline.survey import Candidate, SampleInputs, choose_sample, identify_survey, recall_sample
from magellon.platform.server.book import Book, JobFacts, split
from magellon.platform.store.schema import items, jobs, results, tasks

_DECIDED = ("pending", "running", "completed", "failed", "cancelled")
_WITHOUT_RESULT = ("waiting", "skipped", "cancelled")
"""States in which a survey's identity says nothing to those that depend on it."""
_AT_A_TIME = 100

FRESH: dict[str, Any] = {
    "state": "waiting", "published": False, "sequence": None, "failures": 0, "lost": 0, "not_before": 0.0,
    "worker": None, "incarnation": None, "kind": None, "reason": None, "traceback": None,
}  # fmt: skip
"""A task nothing has happened to."""
OUTDATED = case((tasks.c.state == "completed", tasks.c.identity), else_=tasks.c.former)
"""What `former` becomes when a task gets another identity: the result that is there, but no longer what is asked for."""

_find_surveys = select(tasks).where(
    tasks.c.job_id == bindparam("job"), tasks.c.item_id.is_(None), tasks.c.step.in_(bindparam("steps", expanding=True))
)
_find_results = select(results.c.identity).where(results.c.identity.in_(bindparam("identities", expanding=True)))


def find_surveys(connection: Connection, job: JobFacts) -> dict[str, Row[Any]]:
    """The rows of a job's surveys by step."""
    keys = [step.key for step in job.plan.surveys]
    if not keys:
        return {}
    return {row.step: row for row in connection.execute(_find_surveys, {"job": job.id, "steps": keys})}


def find_settled_surveys(connection: Connection, job: JobFacts) -> dict[str, str]:
    """Identities of the surveys that are decided, by step."""
    return {key: row.identity for key, row in find_surveys(connection, job).items() if row.state not in _WITHOUT_RESULT}


def find_results(connection: Connection, identities: Iterable[str | None]) -> set[str]:
    """Which of these computations are finished."""
    known: set[str] = set()
    for part in split(sorted({identity for identity in identities if identity is not None})):
        known.update(connection.execute(_find_results, {"identities": part}).scalars())
    return known


def advance_surveys(book: Book, connection: Connection, job: JobFacts, revised: bool) -> tuple[bool, list[int]]:
    """Decide what can be decided: whether any survey moved, so that items must be looked at, and tasks completed by it.

    A survey once decided is left alone unless the job was `revised`; one that was skipped is decided when it can be.
    """
    moved, completed = False, []
    for step in job.plan.surveys:
        row = find_surveys(connection, job)[step.key]
        if row.state in _DECIDED and not revised:
            continue
        state, identity = _advance_survey(book, connection, job, step, row)
        moved = moved or (state, identity) != (row.state, row.identity)
        if state == "completed" and row.state != "completed":
            completed.append(row.id)
        if identity is not None and state not in _WITHOUT_RESULT and (revised or identity != row.identity):
            moved = _identify_dependents(book, connection, job) or moved
    return moved, completed


def _advance_survey(
    book: Book, connection: Connection, job: JobFacts, step: PlannedStep, row: Row[Any]
) -> tuple[str, str | None]:
    """Its new state and identity."""
    beside = find_beside(job, step, find_surveys(connection, job))
    if isinstance(beside, State):
        return _enter(connection, row, {"state": beside.state, "reason": beside.reason, "identity": None})
    sample = _choose_sample(book, connection, job, step, row)
    if sample is None:
        return _enter(connection, row, {"identity": None})  # once decided, all that depends on it is compared
    lack = _find_lack(book, connection, step, sample)
    if lack is not None:
        return _enter(connection, row, {"state": "skipped", "reason": lack})
    identity = identify_survey(job.plan, step, sample, beside)
    if row.identity == identity and row.state not in ("waiting", "skipped"):
        return row.state, identity
    state = "completed" if find_results(connection, [identity]) else "pending"
    return _enter(connection, row, {"state": state, "identity": identity, "inputs": {"items": sample, "beside": beside}})


def find_beside(job: JobFacts, step: PlannedStep, rows: Mapping[str, Row[Any]]) -> dict[str, list[str]] | State:
    """What a gather takes of other gathers, whose `rows` are given; or that it has to wait for one, or cannot be done."""
    found = {}
    for name, source in step.beside.items():
        row = rows[source.step]
        if row.state in ("failed", "cancelled", "skipped"):
            return State("skipped", f"{source.step} {row.state}" + (f": {row.reason}" if row.state == "skipped" else ""))
        if row.state != "completed":
            return State("waiting")
        found[name] = [row.identity, source.field]
    return found


def _find_lack(book: Book, connection: Connection, step: PlannedStep, sample: SampleInputs) -> str | None:
    """Why a sample is too small."""
    if not sample:
        return "no movie got as far as that"
    if step.enough is None:
        return None
    identities = [given[step.enough.field][0] for _, given in sample]
    return find_lack(step, count_enough(step, book.fetch_outputs(connection, identities).values()))


def find_lack(step: PlannedStep, count: int) -> str | None:
    """Why so many are not enough."""
    assert step.enough is not None
    if count >= step.enough.at_least:
        return None
    return f"{count} {step.enough.field}, at least {step.enough.at_least} wanted: see {step.key}.at_least"


def _choose_sample(book: Book, connection: Connection, job: JobFacts, step: PlannedStep, row: Row[Any]) -> SampleInputs | None:
    """While movies come: the first full sample in the order they came, which is then kept."""
    if not job.live:
        return choose_sample(job.plan, step, _list_candidates(book, connection, job, step.kind))
    kept = {name for name, _ in recall_sample(row.inputs)[0]}
    if kept:
        sample = choose_sample(
            job.plan, step, (c for c in _list_candidates(book, connection, job, step.kind) if c.name in kept)
        )
        if sample or sample is None:
            return sample
    sample = choose_sample(job.plan, step, _list_candidates(book, connection, job, step.kind))
    return sample if sample and len(sample) == step.sample else None


def _enter(connection: Connection, row: Row[Any], values: dict[str, Any]) -> tuple[str, str | None]:
    whole = {**FRESH, **values}
    whole["former"] = None if whole["state"] == "completed" else OUTDATED
    connection.execute(update(tasks).where(tasks.c.id == row.id).values(**whole))
    return whole["state"], whole.get("identity", row.identity)


def _list_candidates(book: Book, connection: Connection, job: JobFacts, kind: str) -> Iterator[Candidate]:
    """Items by name, those of a live session as they came; a few at a time, as the sample is among the first."""
    columns = (items.c.id, items.c.name, items.c.movie, items.c.identity, items.c.problem)
    query = select(*columns).join(jobs, jobs.c.session_id == items.c.session_id)
    order = items.c.id if job.live else items.c.name
    query = query.where(jobs.c.id == job.id, items.c.kind == kind).order_by(order).limit(_AT_A_TIME)
    part = list(connection.execute(query))
    while part:
        of_items = select(tasks).where(tasks.c.job_id == job.id, tasks.c.item_id.in_([item.id for item in part]))
        rows: dict[int, dict[str, Row[Any]]] = {}
        for row in connection.execute(of_items).all():
            rows.setdefault(row.item_id, {})[row.step] = row
        for item in part:
            yield _make_candidate(book, connection, item, rows.get(item.id, {}))
        last = part[-1].id if job.live else part[-1].name
        part = list(connection.execute(query.where(order > last)))


def _make_candidate(book: Book, connection: Connection, item: Any, rows: dict[str, Row[Any]]) -> Candidate:
    def outputs(key: str) -> dict[str, Any]:
        identity = rows[key].identity
        return book.fetch_outputs(connection, [identity])[identity]

    states = {key: State(row.state, row.reason) for key, row in rows.items()}
    identities = {key: row.identity for key, row in rows.items()}
    return Candidate(item.name, states, identities, outputs, item.movie, item.identity, item.problem)


def _identify_dependents(book: Book, connection: Connection, job: JobFacts) -> bool:
    """Give all tasks that depend on a decided survey their identity; whether any got another one."""
    surveys = find_settled_surveys(connection, job)
    query = select(items.c.id, items.c.kind, items.c.identity).join(jobs, jobs.c.session_id == items.c.session_id)
    of_items = connection.execute(query.where(jobs.c.id == job.id)).all()
    rows = connection.execute(select(tasks).where(tasks.c.job_id == job.id, tasks.c.item_id.is_not(None))).all()
    identities = {each.id: identify_item(job.plan.steps_of(each.kind), each.identity, surveys) for each in of_items}
    changed = []
    for row in rows:
        identity = identities[row.item_id].get(row.step)
        if identity is not None and identity != row.identity:
            changed.append({"of_task": row.id, "new_identity": identity})
    if changed:
        book.loosened.add(job.id)
        statement = update(tasks).where(tasks.c.id == bindparam("of_task"))
        connection.execute(statement.values(identity=bindparam("new_identity"), former=OUTDATED, **FRESH), changed)
    return bool(changed)
