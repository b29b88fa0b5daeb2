"""A session comes into the ledger, or comes again with more movies or another recipe. Never deletes, can be repeated."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from magellon.contracts import GridImage, Movie, Record
from magellon.contracts.description import Description
from magellon.contracts.record import map_plain_paths
from magellon.platform.pipeline.identity import identify_item
from magellon.platform.pipeline.plan import MOVIE, Plan, PlannedStep, make_plan
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.server.advancing import advance_items
from magellon.platform.server.book import Book, split
from magellon.platform.server.placing import enter_places
from magellon.platform.server.settings import apply_settings, name_backends
from magellon.platform.server.surveying import FRESH, OUTDATED, find_settled_surveys
from magellon.platform.sessions.definition import Acquisition, clean_name
from magellon.platform.sessions.found import FoundMovie, FoundSession
from magellon.platform.sessions.grid_images import KINDS, FoundImage
from magellon.platform.sessions.importing import check_folder, import_session
from magellon.platform.sessions.tree import HeaderCache
from magellon.platform.sessions.watch_settings import SeenMovie, WatchSettings
from magellon.platform.store.identity import describe_location, identify_file, locate_file
from magellon.platform.store.roots import HOME_ROOT, Root, Roots, describe_root
from magellon.platform.store.schema import items, jobs, places, results, roots, sessions, tasks

LIVE_PRIORITY = 10
_MOST_PROBLEMS = 200


class Submission(Record):
    """What is asked for: process this folder by this recipe."""

    folder: str
    recipe: Recipe
    acquisition: Acquisition | None = None
    retry: bool = True
    """Try again what failed, except what failed for its input."""
    alone: bool = True
    """Leave other unfinished jobs of the home for another time."""
    live: bool = False
    """The session still grows: its job goes before others, and movies are taken one after the other as they are finished."""
    watch: WatchSettings = WatchSettings()
    """Of a live session."""
    request: str = ""
    """Names this request: repeated because no answer came, it is answered again, not done again."""


def find_session(
    submission: Submission, known: Mapping[str, str] | None = None, cache: HeaderCache | None = None
) -> FoundSession:
    """Read the folder, the metadata in it and every movie's header.

    Args:
        known: movie > optics group, of a session that is in the ledger already.
        cache: what was read before.

    Raises:
        BadInput: as `import_session`.
    """
    folder = Path(submission.folder).resolve()
    found = import_session(folder, submission.acquisition, cache, known, submission.live)
    if not submission.live:
        return found
    places = [place for place in found.places if place.kind != "exposure"]
    return replace(found, movies=[], places=places)  # its movies are left to its watch


def submit_session(
    book: Book,
    connection: Connection,
    submission: Submission,
    found: FoundSession,
    catalogue: Mapping[str, Description],
    whole: bool = True,
) -> int:
    """Enter or update session, movies, job and tasks; the job's number.

    What a change of recipe or movies makes outdated waits again; everything else stays as it is. Unless these are the `whole`
    of the movies, a new job is not active yet: more are to come with `add_part`, and at the end `activate_job`.

    Raises:
        BadInput: the recipe does not fit.
    """
    row = _enter_session(connection, found)
    placement = Placement(connection, book, row.name, found)
    recipe, catalogue = apply_settings(connection, submission.recipe, catalogue)
    plan = make_plan(recipe, catalogue, placement)
    submission = submission.model_copy(update={"recipe": name_backends(recipe, plan)})
    if submission.live:
        connection.execute(
            update(sessions).where(sessions.c.id == row.id).values(live=submission.watch.model_dump(mode="json"))
        )
    else:
        _enter_items(connection, row.id, found, placement)
        _note_vanished(connection, row.id, found)
    enter_places(connection, row.id, found.places, placement.express)
    enter_images(connection, row.id, found.images, placement)
    if submission.alone:
        connection.execute(update(jobs).values(active=False))
    job = _enter_job(connection, row.id, plan, submission, whole)
    book.forget_job(job)
    enter_tasks(connection, job, row.id, plan)
    if submission.retry:
        _retry_failed(connection, job)
    _drop_vanished_results(book, connection, job)
    numbers = connection.execute(select(items.c.id).where(items.c.session_id == row.id)).scalars()
    advance_items(book, connection, job, list(numbers), revised=True)
    return job


def change_recipe_of_job(
    book: Book, connection: Connection, job: int, recipe: Recipe, catalogue: Mapping[str, Description]
) -> list[Row[Any]]:
    """Put another recipe in force; the rows, as they were, of the tasks that it makes outdated or superfluous.

    Raises:
        BadInput: the recipe does not fit; nothing has changed then.
    """
    query = select(sessions.c.id, sessions.c.name).join(jobs, jobs.c.session_id == sessions.c.id).where(jobs.c.id == job)
    session = connection.execute(query).one()
    kept = {f"{step.category}/{step.backend}" for step in book.job(connection, job).plan.steps}
    recipe, catalogue = apply_settings(connection, recipe, catalogue, kept)
    plan = make_plan(recipe, catalogue, Placement(connection, book, session.name))
    values = {
        "plan": plan.model_dump(mode="json"),
        "recipe": name_backends(recipe, plan).model_dump(mode="json"),
        "active": True,
    }
    connection.execute(update(jobs).where(jobs.c.id == job).values(**values))
    book.forget_job(job)
    return enter_tasks(connection, job, session.id, plan)


class Placement:
    """Expresses files by roots; a folder that no root holds becomes one."""

    def __init__(
        self,
        connection: Connection,
        book: Book,
        name: str,
        found: FoundSession | None = None,
        identities: Mapping[Path, str] | None = None,
    ) -> None:
        """`identities`: of files that were looked at before."""
        self._connection, self._book, self._name = connection, book, name
        self.roots = book.map_roots(connection)
        self._identified: dict[Path, str] = dict(identities or {})
        if found is not None:
            self._add(name, found.folder, found.movies[0].movie.path if found.movies else None)

    def _add(self, name: str, folder: Path, sample: Path | None) -> None:
        self._enter(describe_root(name, folder, sample))
        self.roots = Roots({**self.roots.folders, name: folder})

    def _enter(self, root: Root) -> None:
        self._connection.execute(roots.delete().where(roots.c.name == root.name))
        self._connection.execute(roots.insert().values(name=root.name, description=root.model_dump(mode="json")))

    def express(self, path: Path) -> str:
        rooted = self.roots.find(path)
        if rooted is None:
            number = 2
            while f"{self._name}-{number}" in self.roots.folders:
                number += 1
            self._add(f"{self._name}-{number}", path.parent, path if path.is_file() else None)
            rooted = self.roots.express(path)
        return rooted

    def identify(self, path: Path) -> str:
        """By content or place; once, as a gain belongs to many movies."""
        if path not in self._identified:
            self.express(path)
            self._identified[path] = identify_file(path, self.roots)
        return self._identified[path]

    def place_item(self, movie: Movie | GridImage, seen: SeenMovie | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """An item with rooted paths, and with the identities of its files instead, its own as it was `seen` or as it is."""
        plain = movie.model_dump(mode="json")
        own = str(movie.path)

        def identify(text: str) -> str:
            if text != own:
                return self.identify(Path(text))
            return (
                describe_location(self.express(movie.path), seen.size, seen.mtime)
                if seen
                else locate_file(movie.path, self.roots)
            )

        rooted = map_plain_paths(type(movie), plain, lambda text: self.express(Path(text)))
        return rooted, map_plain_paths(type(movie), plain, identify)


def _enter_session(connection: Connection, found: FoundSession) -> Row[Any]:
    by_folder = select(sessions).where(sessions.c.folder == str(found.folder))
    values = {
        "definition": found.session.model_dump(mode="json", exclude={"places"}),
        "problems": list_problems(found.problems),
    }
    row = connection.execute(by_folder).one_or_none()
    if row is None:
        taken = {*connection.execute(select(sessions.c.name)).scalars(), *connection.execute(select(roots.c.name)).scalars()}
        name, number = clean_name(found.session.name), 2
        while name in taken or name == HOME_ROOT:
            name, number = f"{clean_name(found.session.name)}-{number}", number + 1
        connection.execute(sessions.insert().values(name=name, folder=str(found.folder), **values))
        return connection.execute(by_folder).one()
    connection.execute(update(sessions).where(sessions.c.id == row.id).values(**values))
    return row


def list_problems(problems: Iterable[str]) -> list[str]:
    """Each once, in their order, and no more than a person reads."""
    distinct = list(dict.fromkeys(problems))
    if len(distinct) > _MOST_PROBLEMS:
        distinct = [*distinct[: _MOST_PROBLEMS - 1], f"and {len(distinct) - _MOST_PROBLEMS + 1} more"]
    return distinct


def _enter_items(connection: Connection, session_id: int, found: FoundSession, placement: Placement) -> None:
    of_movies = select(items).where(items.c.session_id == session_id, items.c.kind == MOVIE)
    known = {row.name: row for row in connection.execute(of_movies)}
    new: list[dict[str, Any]] = []
    for entry in found.movies:
        movie, identity = placement.place_item(entry.movie)
        values = {"movie": movie, "identity": identity, "problem": entry.problem}
        row = known.get(entry.movie.name)
        if row is None:
            new.append({"session_id": session_id, "name": entry.movie.name, **values})
        elif (row.movie, row.identity, row.problem) != (movie, identity, entry.problem):
            connection.execute(update(items).where(items.c.id == row.id).values(**values))
            if row.problem is not None and entry.problem != row.problem:
                failed = update(tasks).where(tasks.c.item_id == row.id, tasks.c.state == "failed")
                connection.execute(failed.values(state="waiting", reason=None, kind=None))
    if new:
        connection.execute(items.insert(), new)


def enter_images(connection: Connection, session_id: int, found: Sequence[FoundImage], placement: Placement) -> list[str]:
    """Pictures of the grid that are new or have changed; their names. One that is gone keeps what was made of it."""
    known = {
        row.name: row
        for row in connection.execute(select(items).where(items.c.session_id == session_id, items.c.kind != MOVIE))
    }
    shown = select(places.c.id, places.c.kind, places.c.name).where(places.c.session_id == session_id, places.c.kind.in_(KINDS))
    numbers = {(row.kind, row.name): row.id for row in connection.execute(shown)} if found else {}
    touched = []
    for each in found:
        image, identity = placement.place_item(each.image)
        row = known.get(each.name)
        if row is not None and (row.movie, row.identity) == (image, identity):
            continue
        touched.append(each.name)
        values = {"movie": image, "identity": identity, "place_id": numbers.get((each.kind, each.place))}
        if row is None:
            connection.execute(items.insert().values(session_id=session_id, kind=each.kind, name=each.name, **values))
        else:
            connection.execute(update(items).where(items.c.id == row.id).values(**values))
    return touched


def _note_vanished(connection: Connection, session_id: int, found: FoundSession) -> None:
    """A movie that is no longer in the folder keeps what was made of it; what was not made cannot be."""
    there = {entry.movie.name for entry in found.movies}
    of_movies = select(items).where(items.c.session_id == session_id, items.c.kind == MOVIE)
    for row in connection.execute(of_movies).all():
        if row.name not in there:
            problem = f"{row.name}: the movie is no longer in {found.folder}"
            connection.execute(update(items).where(items.c.id == row.id).values(problem=problem))


def add_part(book: Book, connection: Connection, job: int, found: FoundSession) -> list[int]:
    """Enter some more movies and their tasks, without moving them on yet; the items' numbers."""
    session_id = connection.execute(select(jobs.c.session_id).where(jobs.c.id == job)).scalar_one()
    facts = book.job(connection, job)
    query = select(items.c.id, items.c.name).where(
        items.c.session_id == session_id, items.c.name.in_([entry.movie.name for entry in found.movies])
    )
    there = {row.name for row in connection.execute(query)}  # a watch of the folder may have been here in between
    new = [entry for entry in found.movies if entry.movie.name not in there]
    _enter_new_items(connection, session_id, new, Placement(connection, book, facts.session))
    numbers = [row.id for row in connection.execute(query)]
    enter_tasks(connection, job, session_id, facts.plan, SomeItems(numbers, find_settled_surveys(connection, facts)))
    return numbers


def activate_job(book: Book, connection: Connection, job: int, found: FoundSession, some: list[int]) -> None:
    """All its movies are there: their places, and what concerns them together. `some`: numbers of one item or more."""
    session_id = connection.execute(select(jobs.c.session_id).where(jobs.c.id == job)).scalar_one()
    if found.places:
        enter_places(
            connection, session_id, found.places, Placement(connection, book, book.job(connection, job).session).express
        )
    connection.execute(update(jobs).where(jobs.c.id == job).values(active=True))
    advance_items(book, connection, job, some, revised=True)


def _enter_new_items(connection: Connection, session_id: int, movies: Sequence[FoundMovie], placement: "Placement") -> None:
    rows = []
    for entry in movies:
        movie, identity = placement.place_item(entry.movie)
        values = {"movie": movie, "identity": identity, "problem": entry.problem}
        rows.append({"session_id": session_id, "name": entry.movie.name, **values})
    if rows:
        connection.execute(items.insert(), rows)


def _enter_job(connection: Connection, session_id: int, plan: Plan, submission: Submission, whole: bool = True) -> int:
    row = connection.execute(select(jobs.c.id).where(jobs.c.session_id == session_id)).one_or_none()
    values = {"plan": plan.model_dump(mode="json"), "recipe": submission.recipe.model_dump(mode="json"), "active": True}
    if submission.live:
        values["priority"] = LIVE_PRIORITY
    if row is None:
        values.update(session_id=session_id, created_at=time.time(), active=whole)
        connection.execute(jobs.insert().values(**values))
        row = connection.execute(select(jobs.c.id).where(jobs.c.session_id == session_id)).one()
    else:
        connection.execute(update(jobs).where(jobs.c.id == row.id).values(**values))
    return int(row.id)


@dataclass(frozen=True)
class SomeItems:
    """Items whose tasks are looked at alone, and the identities of the surveys that are decided."""

    ids: Sequence[int]
    surveys: Mapping[str, str]


def enter_tasks(connection: Connection, job: int, session_id: int, plan: Plan, some: SomeItems | None = None) -> list[Row[Any]]:
    """Make the job's tasks those of the plan; the rows, as they were, of those that were outdated or removed by it."""
    of_items = select(items).where(items.c.session_id == session_id)
    of_tasks = select(tasks).where(tasks.c.job_id == job)
    if some is not None:
        of_items, of_tasks = of_items.where(items.c.id.in_(some.ids)), of_tasks.where(tasks.c.item_id.in_(some.ids))
    known = {(r.item_id, r.step): r for r in connection.execute(of_tasks)}
    new: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    renamed: list[dict[str, Any]] = []
    kept: set[int] = set()
    outdated: list[Row[Any]] = []

    def enter(item: int | None, step: PlannedStep, identity: str | None) -> None:
        row = known.get((item, step.key))
        if row is None:
            named = {"category": step.category, "backend": step.backend}
            new.append({"job_id": job, "item_id": item, "step": step.key, "identity": identity, "attempt": 0, **named, **FRESH})
            return
        kept.add(row.id)
        values = {"of_task": row.id, "new_category": step.category, "new_backend": step.backend}
        if identity is not None and row.identity != identity:
            outdated.append(row)
            changed.append({**values, "new_identity": identity})
        elif (row.category, row.backend) != (step.category, step.backend):
            renamed.append(values)  # gathers, surveys and what depends on surveys find their identity when they are due

    for item in connection.execute(of_items.order_by(items.c.name)):
        steps = plan.steps_of(item.kind)
        identities = identify_item(steps, item.identity, some.surveys if some else None)
        for step in steps:
            enter(item.id, step, identities.get(step.key))
    for step in (*plan.surveys, *plan.gathers) if some is None else ():
        enter(None, step, None)
    if new:
        connection.execute(tasks.insert(), new)
    rename = update(tasks).where(tasks.c.id == bindparam("of_task"))
    rename = rename.values(category=bindparam("new_category"), backend=bindparam("new_backend"))
    if changed:
        connection.execute(rename.values(identity=bindparam("new_identity"), former=OUTDATED, **FRESH), changed)
    if renamed:
        connection.execute(rename, renamed)
    gone = [row for row in known.values() if row.id not in kept]
    for part in split([row.id for row in gone]):
        connection.execute(tasks.delete().where(tasks.c.id.in_(part)))
    return outdated + gone


def _retry_failed(connection: Connection, job: int) -> None:
    again = update(tasks).where(tasks.c.job_id == job, tasks.c.state.in_(("failed", "cancelled")), tasks.c.kind != "bad_input")
    connection.execute(again.values(**FRESH))


def _drop_vanished_results(book: Book, connection: Connection, job: int) -> None:
    """A result that a person removed is computed again."""
    completed = select(tasks.c.id, tasks.c.identity).where(tasks.c.job_id == job, tasks.c.state == "completed")
    gone = [row for row in connection.execute(completed).all() if not book.store.path(row.identity).exists()]
    for part in split(gone):
        connection.execute(results.delete().where(results.c.identity.in_([row.identity for row in part])))
        connection.execute(update(tasks).where(tasks.c.id.in_([row.id for row in part])).values(**FRESH))


def check_submission(submission: Submission, catalogue: Mapping[str, Description]) -> None:
    """Find mistakes in folder and recipe without a server.

    Raises:
        BadInput: what is wrong.
    """
    check_folder(Path(submission.folder), submission.acquisition)
    make_plan(submission.recipe, catalogue)
