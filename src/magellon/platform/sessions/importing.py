"""A session's folder becomes movies, places and problems. Only reads, can be repeated, and never stops at a bad file."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from magellon.errors import BadInput
from magellon.platform.sessions.assembling import assemble_movies
from magellon.platform.sessions.definition import Acquisition, SessionFile, Source, check_definition, is_movie, read_session
from magellon.platform.sessions.detect import Detection, detect_source
from magellon.platform.sessions.epu import read_epu
from magellon.platform.sessions.found import FoundSession, Metadata
from magellon.platform.sessions.grid_images import find_grid_images
from magellon.platform.sessions.leginon import read_leginon
from magellon.platform.sessions.places import Place
from magellon.platform.sessions.scan import describe_plain_movies, scan_movies
from magellon.platform.sessions.serialem import read_serialem
from magellon.platform.sessions.tree import HeaderCache, Tree, list_tree, restrict_tree

_READERS: dict[Source, Callable[[Tree, HeaderCache], Metadata]] = {
    "epu": read_epu,
    "serialem": read_serialem,
    "leginon": read_leginon,
}
_WORDS: dict[Source, str] = {
    "epu": "EPU",
    "serialem": "SerialEM",
    "leginon": "Leginon",
    "session.json": "session.json",
    "plain": "a plain folder",
}


def import_session(
    folder: Path,
    given: Acquisition | None = None,
    cache: HeaderCache | None = None,
    known: Mapping[str, str] | None = None,
    live: bool = False,
) -> FoundSession:
    """Read a session's folder.

    Args:
        given: what a person says, which wins over all files.
        cache: what was read before; kept between looks at a growing folder, only new and changed files are read.
        known: movie > optics group in the ledger; it stays in it.
        live: the folder grows, so that it may hold no movie yet.

    Raises:
        BadInput: no folder, no movies, or what a person said cannot be.
    """
    cache = cache or HeaderCache()
    tree = _list(folder, given)
    detection = detect_source(tree)
    if detection.source not in _READERS:
        return _import_plain(tree, detection, given, cache, live)
    metadata = _READERS[detection.source](tree, cache)
    if not metadata.movies and not live:
        raise BadInput(f"{folder}: {_WORDS[detection.source]} ({detection.reason}), but none of its movies are there")
    session = _define(folder, metadata.name, detection.source, given)
    assembled = assemble_movies(tree, session, metadata, cache, known)
    places = [*metadata.places, *assembled.exposures]
    images, unseen = find_grid_images(metadata.places, cache)
    problems = [*tree.problems, *metadata.problems, *metadata.missing, *assembled.problems, *unseen]
    return FoundSession(folder, session, assembled.movies, detection.source, detection.reason, places, images, problems)


def describe_movies(
    folder: Path, given: Acquisition | None, names: Mapping[str, Path], known: Mapping[str, str], cache: HeaderCache
) -> FoundSession:
    """Some movies of a session that grows, under the names given, with the places that they add.

    The first call with a cache reads the whole folder once; later ones cost a listing and these movies.

    Raises:
        BadInput: as `import_session`.
    """
    if folder not in cache.sessions:
        import_session(folder, given, cache, known, live=True)
    tree = _list(folder, given)
    detection = detect_source(tree)
    reason = detection.reason
    if detection.source not in _READERS:
        cache.sessions.setdefault(folder, None)
        session = _define_plain(tree, detection, given, live=True)
        movies = describe_plain_movies(folder, session, dict(names), cache)
        return FoundSession(folder, session, movies, detection.source, reason)
    metadata = _READERS[detection.source](restrict_tree(tree, set(names.values())), cache)
    wanted = {path: metadata.movies.get(path) for path in names.values()}
    session = _define(folder, metadata.name, detection.source, given)
    assembled = assemble_movies(tree, session, replace(metadata, movies=wanted), cache, known, names)
    places = [*metadata.places, *assembled.exposures]
    images, unseen = find_grid_images(metadata.places, cache)
    problems = [*metadata.problems, *assembled.problems, *unseen]
    return FoundSession(folder, session, assembled.movies, detection.source, reason, places, images, problems)


def _import_plain(tree: Tree, detection: Detection, given: Acquisition | None, cache: HeaderCache, live: bool) -> FoundSession:
    session = _define_plain(tree, detection, given, live)
    try:
        movies = scan_movies(tree.folder, session, cache)
    except BadInput:
        if not live or any(is_movie(path) for path in tree.files):
            raise
        movies = []
    places = [_locate(place, tree.folder) for place in session.places or ()]
    images, unseen = find_grid_images(places, cache)
    problems = [*tree.problems, *unseen]
    return FoundSession(tree.folder, session, movies, detection.source, detection.reason, places, images, problems)


def _define_plain(tree: Tree, detection: Detection, given: Acquisition | None, live: bool) -> SessionFile:
    if live and detection.source == "plain":  # where in it movies will come is not known yet
        return _define(tree.folder, tree.folder.resolve().name, "plain", given)
    return read_session(tree.folder, given).model_copy(update={"source": detection.source})


def check_folder(folder: Path, given: Acquisition | None = None) -> None:
    """Find gross mistakes without reading a movie.

    Raises:
        BadInput: no folder, no movies, an invalid `session.json`.
    """
    tree = _list(folder, given)
    detection = detect_source(tree)
    if detection.source not in _READERS:
        read_session(folder, given)
    elif not any(is_movie(path) for path in tree.files):
        raise BadInput(f"{folder}: {_WORDS[detection.source]} ({detection.reason}), but no movies are there")


def _list(folder: Path, given: Acquisition | None) -> Tree:
    """The files of the folder, and of the folder with metadata all that are no movies."""
    tree = list_tree(folder)
    if given is None or given.metadata is None:
        return tree
    other = list_tree(folder / Path(given.metadata).expanduser())
    added = [path for path in other.files if not is_movie(path)]
    return Tree(folder, tuple(sorted({*tree.files, *added})), (*tree.problems, *other.problems))


def _define(folder: Path, name: str, source: Source, given: Acquisition | None) -> SessionFile:
    values = {"name": name, "movies": "**/*", "source": source}
    values.update(given.model_dump(exclude_none=True) if given else {})
    try:
        return check_definition(SessionFile.model_validate(values), folder)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{folder}: {'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}") from error


def _locate(place: Place, folder: Path) -> Place:
    return place.map_paths(lambda path: folder / path)
