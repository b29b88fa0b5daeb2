"""What people use of the results: `HOME/sessions/NAME/`, links into `HOME/results`, always to whole and current ones."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from magellon.contracts import CONTRACTS, Movie
from magellon.contracts.record import map_plain_paths
from magellon.platform.pipeline.plan import MOVIE
from magellon.platform.server.book import Book, JobFacts, split
from magellon.platform.store.files import link_atomically
from magellon.platform.store.home import Home
from magellon.platform.store.schema import items, jobs, results, tasks

MOVIES_FOLDER = "movies"
_find_by_number = select(tasks.c.job_id, tasks.c.step, tasks.c.category, tasks.c.identity, tasks.c.state).where(
    tasks.c.id.in_(bindparam("numbers", expanding=True))
)
_find_with_outputs = (
    select(tasks.c.step, tasks.c.category, tasks.c.identity, results.c.output)
    .join(results, results.c.identity == tasks.c.identity)
    .where(tasks.c.job_id == bindparam("job"), tasks.c.state == "completed")
)


class Link(NamedTuple):
    """One to make."""

    job: int
    place: str
    target: str


def link_tasks(book: Book, connection: Connection, task_numbers: Iterable[int]) -> None:
    """Link the files of tasks that have just been completed."""
    make_links(list_task_links(book, connection, task_numbers), book.home)


def make_links(links: Iterable[Link], home: Home) -> None:
    inside = str(home.root)
    for link in links:
        link_atomically(link.place, link.target, inside)


def list_task_links(book: Book, connection: Connection, task_numbers: Iterable[int]) -> list[Link]:
    """Links to the files of tasks that have just been completed."""
    found = []
    for part in split(list(task_numbers)):
        rows = [row for row in connection.execute(_find_by_number, {"numbers": part}) if row.state == "completed"]
        outputs = book.fetch_outputs(connection, [row.identity for row in rows])
        for row in rows:
            folder = f"{book.home.sessions}/{book.job(connection, row.job_id).session}"
            links = _list_links(book, row, outputs[row.identity])
            found += [Link(row.job_id, f"{folder}/{link}", target) for link, target in links.items()]
    return found


def _list_links(book: Book, row: Any, output: dict[str, Any]) -> dict[str, str]:
    """Link (relative to the session's folder) > file. Files of the session as a whole lie in its folder itself."""
    contract = CONTRACTS[row.category]
    place = "" if contract.gather and contract.Item is None else f"{row.step}/"
    folder = f"{book.store.folder}/{row.identity[:2]}/{row.identity}/"
    links: dict[str, str] = {}

    def note(path: str) -> str:
        links[place + path.rpartition("/")[2]] = folder + path
        return path

    map_plain_paths(contract.Output, output, note)
    return links


def relink_session(book: Book, connection: Connection, job_id: int) -> None:
    """Make the session's folder show exactly what is completed now; links to anything else go."""
    relink_folder(book, connection, book.job(connection, job_id))


def relink_folder(book: Book, connection: Connection, job: JobFacts) -> None:
    """The same for any thread, with a connection of its own; nothing is kept at hand in the book."""
    folder = book.home.sessions / job.session
    wanted: dict[str, str] = {link: str(target) for link, target in _list_movie_links(book, connection, job.id).items()}
    for row in connection.execute(_find_with_outputs, {"job": job.id}):
        wanted.update(_list_links(book, row, row.output))
    for link, target in wanted.items():
        link_atomically(f"{folder}/{link}", target, str(book.home.root))
    folder.mkdir(parents=True, exist_ok=True)  # of a session without movies yet
    for link in _find_links(folder):
        if link not in wanted:
            (folder / link).unlink(missing_ok=True)


def link_movies(book: Book, connection: Connection, job_id: int, item_ids: Collection[int]) -> None:
    """Link these items' raw movies."""
    folder = book.home.sessions / book.job(connection, job_id).session
    for part in split(list(item_ids)):
        for link, target in _list_movie_links(book, connection, job_id, part).items():
            link_atomically(folder / link, target, book.home.root)


def _find_links(folder: Path) -> list[str]:
    """Links in the session's folder and the folders directly in it; what people put there themselves is no link of ours."""
    found = []
    for place in (folder, *(entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink())):
        found += [entry.relative_to(folder).as_posix() for entry in place.iterdir() if _is_ours(entry, folder)]
    return found


def _is_ours(entry: Path, folder: Path) -> bool:
    if not entry.is_symlink():
        return False
    in_movies = entry.parent == folder / MOVIES_FOLDER
    return in_movies or "/results/" in f"/{os.readlink(entry)}"


def _list_movie_links(
    book: Book, connection: Connection, job_id: int, item_ids: Collection[int] | None = None
) -> dict[str, Path]:
    """Movies under their names in the session, gains and defect lists under their file names."""
    known = book.map_roots(connection)
    links: dict[str, Path] = {}
    query = select(items.c.name, items.c.movie).join(jobs, jobs.c.session_id == items.c.session_id)
    query = query.where(jobs.c.id == job_id, items.c.kind == MOVIE)
    for row in connection.execute(query if item_ids is None else query.where(items.c.id.in_(item_ids))):
        movie = Movie.model_validate(row.movie).map_paths(known.resolve)
        links[f"{MOVIES_FOLDER}/{movie.name}{movie.path.suffix}"] = movie.path
        for reference in (movie.gain.path if movie.gain else None, movie.defects):
            if reference is not None:
                links.setdefault(f"{MOVIES_FOLDER}/{reference.name}", reference)
    return {link: target for link, target in links.items() if target.exists()}
