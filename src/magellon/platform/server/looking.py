"""One look at a live session's folder: what is finished there, and what headers and metadata say of it. No ledger."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection, select

from magellon.contracts import Movie
from magellon.errors import BadInput
from magellon.platform.server.adding import Arrivals, LiveSession, find_live_session, recall_movies
from magellon.platform.server.book import Book
from magellon.platform.server.placing import read_known_groups
from magellon.platform.sessions.confining import EVERYWHERE, OpenFolders
from magellon.platform.sessions.definition import Acquisition, SessionFile
from magellon.platform.sessions.importing import describe_movies
from magellon.platform.sessions.tree import HeaderCache
from magellon.platform.sessions.watch import FolderWatch
from magellon.platform.sessions.watch_files import SessionFolder
from magellon.platform.sessions.watch_metadata import looks_like_movie
from magellon.platform.sessions.watch_settings import WatchSettings
from magellon.platform.store.identity import identify_file
from magellon.platform.store.roots import Roots
from magellon.platform.store.schema import sessions


class FolderReader:
    """All of a watch that touches the filesystem; used by one thread at a time."""

    def __init__(
        self, session: LiveSession, given: Acquisition, watch: FolderWatch, roots: Roots, allowed: OpenFolders = EVERYWHERE
    ) -> None:
        self.session = session
        self._folder, self._given, self._roots, self._open = session.folder, given, roots, allowed
        self.watch = watch
        self.groups: dict[str, str] = {}
        """Movie > optics group, of those in the ledger."""
        self._cache = HeaderCache()
        self._told: set[str] = set()
        self._identities: dict[tuple[Path, int, int], str] = {}

    def look(self, now: float | None = None) -> Arrivals:
        """One poll, at a time of a clock that only goes forward.

        Raises:
            OSError: the folder cannot be read.
            MagellonError: what belongs to the session is missing.
        """
        increment = self.watch.poll(time.monotonic() if now is None else now)
        names = {movie.name: self._folder / movie.seen.path for movie in increment.ready}
        if not names:
            return Arrivals(increment)
        found = self._open.confine_session(describe_movies(self._folder, self._given, names, self.groups, self._cache))
        identities = self._identify_references([each.movie for each in found.movies])
        problems = [problem for problem in found.problems if problem not in self._told]
        return Arrivals(increment, found.movies, found.places, found.images, problems, identities)

    def confirm(self, arrivals: Arrivals) -> None:
        """They are in the ledger."""
        self.watch.confirm(arrivals.increment)
        self._told.update(arrivals.problems)
        for found in arrivals.movies:
            if found.shot is not None and found.shot.optics_group is not None:
                self.groups[found.movie.name] = found.shot.optics_group

    def _identify_references(self, movies: Sequence[Movie]) -> Mapping[Path, str]:
        """Gains and defect lists are read once, and again when they change."""
        paths = {path for movie in movies for path in movie.paths() if path != movie.path}
        found = {}
        for path in paths:
            status = path.stat()
            key = (path, status.st_size, status.st_mtime_ns)
            try:
                self._identities[key] = self._identities.get(key) or identify_file(path, self._roots)
            except BadInput:
                continue  # in no known root yet: left to the ledger's side
            found[path] = self._identities[key]
        return found


def open_reader(book: Book, connection: Connection, session_id: int) -> FolderReader:
    """The reader of a session, with what the ledger knows of its movies.

    Raises:
        BadInput: it is not live.
    """
    row = connection.execute(select(sessions).where(sessions.c.id == session_id)).one()
    if row.live is None:
        raise BadInput(f"session {row.name} is not live")
    session = find_live_session(connection, session_id)
    definition = SessionFile.model_validate(row.definition)
    aside = _list_references(session.folder, definition)
    elsewhere = session.folder / Path(definition.metadata).expanduser() if definition.metadata else None
    folder = SessionFolder(session.folder, definition.movies, aside, _select_movies(definition), elsewhere)
    watch = FolderWatch.resume(folder, WatchSettings.model_validate(row.live), recall_movies(connection, session_id))
    reader = FolderReader(session, _recall_given(definition), watch, book.map_roots(connection), book.open_folders)
    reader.groups.update(read_known_groups(connection, session.folder))
    return reader


def _recall_given(definition: SessionFile) -> Acquisition:
    """What a person or a `session.json` said when the session was submitted."""
    said = {name: getattr(definition, name) for name in Acquisition.model_fields}
    return Acquisition.model_validate({name: value for name, value in said.items() if value is not None})


def _select_movies(definition: SessionFile) -> Callable[[str], bool]:
    """Which of the files that look like movies are some, as far as their names tell."""
    source = definition.source or "plain"
    return lambda path: looks_like_movie(source, path)


def _list_references(folder: Path, definition: SessionFile) -> frozenset[str]:
    """Gain and defect map, which may look like movies, relative to the folder."""
    paths = [folder / Path(reference).expanduser() for reference in (definition.gain, definition.defects) if reference]
    return frozenset(path.relative_to(folder).as_posix() for path in paths if path.is_relative_to(folder))
