"""Movies of a live session come into the ledger a few at a time. The cost is that of what is new, not of the session."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select, update

from magellon.contracts import Movie
from magellon.platform.pipeline.plan import MOVIE, SESSION, Plan
from magellon.platform.server.advancing import advance_items
from magellon.platform.server.book import Book, JobFacts, split
from magellon.platform.server.events import record_changes
from magellon.platform.server.links import link_movies, link_tasks
from magellon.platform.server.placing import enter_places
from magellon.platform.server.submitting import Placement, SomeItems, enter_images, enter_tasks, list_problems
from magellon.platform.server.surveying import FRESH, find_settled_surveys
from magellon.platform.sessions.found import FoundMovie
from magellon.platform.sessions.grid_images import FoundImage
from magellon.platform.sessions.places import Place
from magellon.platform.sessions.watch_records import Increment, Taken
from magellon.platform.sessions.watch_settings import SeenMovie
from magellon.platform.store.schema import items, jobs, sessions, tasks

EVENT = "movies"
"""Kind of the events that tell what came."""


@dataclass(frozen=True)
class Arrivals:
    """What a watch found, with what the movies' headers and metadata say."""

    increment: Increment
    movies: Sequence[FoundMovie] = ()
    """Those that are ready, under the names the watch gave them."""
    places: Sequence[Place] = ()
    images: Sequence[FoundImage] = ()
    problems: Sequence[str] = ()
    """What else could not be read."""
    identities: Mapping[Path, str] = field(default_factory=dict)
    """Of gains and defect lists."""


@dataclass(frozen=True)
class LiveSession:
    """A session whose folder is watched."""

    id: int
    name: str
    folder: Path
    job: int


def find_live_session(connection: Connection, session_id: int) -> LiveSession:
    query = select(sessions.c.id, sessions.c.name, sessions.c.folder, jobs.c.id.label("job"))
    row = connection.execute(query.join(jobs, jobs.c.session_id == sessions.c.id).where(sessions.c.id == session_id)).one()
    return LiveSession(row.id, row.name, Path(row.folder), row.job)


def recall_movies(connection: Connection, session_id: int) -> list[Taken]:
    """The movies of a session as a watch knows them. Of those imported at once the metadata is not known."""
    query = select(items.c.name, items.c.movie, items.c.identity, items.c.seen, items.c.problem)
    taken = []
    for row in connection.execute(query.where(items.c.session_id == session_id, items.c.kind == MOVIE)):
        seen = SeenMovie.model_validate(row.seen) if row.seen else _guess_seen(row.identity)
        taken.append(Taken(row.name, seen, problem=row.problem))
    return taken


def _guess_seen(identity: Mapping[str, Any]) -> SeenMovie:
    place, _, marks = str(identity["path"]).rpartition("?size=")
    size, _, mtime = marks.partition("&mtime=")
    return SeenMovie(path=place.partition(":")[2], size=int(size), mtime=int(mtime), metadata=None)


def add_movies(book: Book, connection: Connection, session: LiveSession, arrivals: Arrivals) -> list[Row[Any]]:
    """Enter what came, changed, moved or went, and move on what depends on it; rows of tasks to take back from the bus."""
    facts = book.job(connection, session.job)
    placement = Placement(connection, book, session.name, identities=arrivals.identities)
    withdrawn = _move(connection, facts.plan, session, arrivals.increment.renamed, placement)
    names = _enter_movies(connection, session, arrivals, placement)
    _enter_vanished(connection, session, arrivals.increment.vanished)
    if arrivals.places:
        enter_places(connection, session.id, list(arrivals.places), placement.express)
    names += enter_images(connection, session.id, arrivals.images, placement)
    _enter_problems(connection, session.id, arrivals.problems)
    ids = _find_ids(connection, session.id, names)
    for part in split(ids):
        some = SomeItems(part, find_settled_surveys(connection, facts))
        withdrawn += enter_tasks(connection, session.job, session.id, facts.plan, some)
    others = [movie.name for movie in (*arrivals.increment.renamed, *arrivals.increment.vanished)]
    touched = [*ids, *_find_ids(connection, session.id, others)]
    completed = advance_items(book, connection, session.job, touched)
    link_movies(book, connection, session.job, touched)
    link_tasks(book, connection, completed)
    _tell(book, connection, facts, arrivals)
    return withdrawn


def _find_ids(connection: Connection, session_id: int, names: Collection[str]) -> list[int]:
    found: list[int] = []
    for part in split(sorted(names)):
        query = select(items.c.id).where(items.c.session_id == session_id, items.c.name.in_(part))
        found += connection.execute(query.order_by(items.c.id)).scalars()
    return found


def _find_rows(connection: Connection, session_id: int, names: Collection[str]) -> dict[str, Row[Any]]:
    rows: dict[str, Row[Any]] = {}
    for part in split(sorted(names)):
        query = select(items).where(items.c.session_id == session_id, items.c.name.in_(part))
        rows.update({row.name: row for row in connection.execute(query)})
    return rows


def _enter_movies(connection: Connection, session: LiveSession, arrivals: Arrivals, placement: Placement) -> list[str]:
    """New and changed movies; their names."""
    taken = {movie.name: movie for movie in arrivals.increment.ready}
    known = _find_rows(connection, session.id, taken)
    new = []
    for found in arrivals.movies:
        name = found.movie.name
        seen = taken[name].seen
        problem = taken[name].problem or found.problem
        movie, identity = placement.place_item(found.movie, seen)
        values = {"movie": movie, "identity": identity, "problem": problem, "seen": seen.model_dump(mode="json")}
        row = known.get(name)
        if row is None:
            new.append({"session_id": session.id, "name": name, **values})
        else:
            connection.execute(update(items).where(items.c.id == row.id).values(**values))
            if row.problem is not None and problem != row.problem:
                _try_again(connection, row.id)
    if new:
        connection.execute(items.insert(), new)
    return list(taken)


def _try_again(connection: Connection, item: int) -> None:
    """What failed because of the movie's file."""
    failed = update(tasks).where(tasks.c.item_id == item, tasks.c.state == "failed")
    connection.execute(failed.values(**FRESH))


def _move(
    connection: Connection, plan: Plan, session: LiveSession, renamed: Sequence[Taken], placement: Placement
) -> list[Row[Any]]:
    """Movies lie elsewhere, so what has not read them yet must be told; their identity stays that of where they came from."""
    readers = [step.key for step in plan.item_steps if any(source.step == SESSION for source in step.sources.values())]
    rows = _find_rows(connection, session.id, [movie.name for movie in renamed])
    withdrawn: list[Row[Any]] = []
    for movie in renamed:
        row = rows[movie.name]
        former = Movie.model_validate(row.movie)
        place = Path(placement.express(session.folder / movie.seen.path))
        values = {"movie": former.model_copy(update={"path": place}).model_dump(mode="json"), "problem": movie.problem}
        connection.execute(update(items).where(items.c.id == row.id).values(**values, seen=movie.seen.model_dump(mode="json")))
        unread = select(tasks).where(tasks.c.item_id == row.id, tasks.c.step.in_(readers), tasks.c.published)
        found = connection.execute(unread.where(tasks.c.state.in_(("pending", "running")))).all()
        withdrawn += found
        again = update(tasks).where(tasks.c.id.in_([task.id for task in found]))
        connection.execute(again.values(state="pending", published=False, sequence=None, worker=None, incarnation=None))
        _try_again(connection, row.id)
    return withdrawn


def _enter_vanished(connection: Connection, session: LiveSession, vanished: Sequence[Taken]) -> None:
    """What was made of a movie stays; what was not made cannot be."""
    for movie in vanished:
        problem = f"{movie.name}: the movie is no longer in {session.folder}"
        query = update(items).where(items.c.session_id == session.id, items.c.name == movie.name)
        connection.execute(query.values(problem=problem))


def _enter_problems(connection: Connection, session_id: int, problems: Sequence[str]) -> None:
    """Beside those that are known; what has been mended meanwhile goes when the whole folder is read again."""
    if problems:
        query = select(sessions.c.problems).where(sessions.c.id == session_id)
        known = connection.execute(query).scalar_one() or []
        values = {"problems": list_problems([*known, *problems])}
        connection.execute(update(sessions).where(sessions.c.id == session_id).values(**values))


def _tell(book: Book, connection: Connection, job: JobFacts, arrivals: Arrivals) -> None:
    increment = arrivals.increment
    lines = [*arrivals.problems]
    lines += [f"{movie.name}: {movie.problem}" for movie in increment.ready if movie.problem]
    lines += [f"{movie.name} is now {movie.seen.path}" for movie in increment.renamed]
    lines += [f"{movie.name} is no longer in the folder" for movie in increment.vanished]
    if increment.ready:
        lines.append(f"{len(increment.ready)} taken, {increment.waiting} not finished")
    tell_session(book, connection, job.id, lines)


def tell_session(book: Book, connection: Connection, job: int, lines: Sequence[str]) -> None:
    """Lines of the live view about a job's movies."""
    record_changes(connection, [(job, None, EVENT, line) for line in lines], book.now())
