"""From a session's folder to its movies, every path checked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from magellon.contracts import Gain, Movie, Optics
from magellon.errors import BadInput
from magellon.io.movie_header import MovieHeader, read_movie_header
from magellon.platform.sessions.definition import SessionFile, is_movie
from magellon.platform.sessions.found import FoundMovie
from magellon.platform.sessions.headers import find_odd_sizes
from magellon.platform.sessions.tree import HeaderCache


def scan_movies(folder: Path, session: SessionFile, cache: HeaderCache | None = None) -> list[FoundMovie]:
    """All movies by name. A movie that cannot be processed is listed with its problem and troubles no other one.

    Raises:
        BadInput: no movies, a gain or defect file that is missing, no pixel size, names that cannot be told apart.
    """
    paths = _find_paths(folder, session)
    names = name_movies(paths)
    _check_groups(session, names)
    headers, problems = read_headers(names, cache or HeaderCache())
    problems.update(find_odd_sizes(headers))
    return [
        _find_movie(_describe_movie(folder, session, name, path, headers.get(name)), problems.get(name), headers.get(name))
        for name, path in sorted(names.items())
    ]


def describe_plain_movies(
    folder: Path, session: SessionFile, names: dict[str, Path], cache: HeaderCache | None = None
) -> list[FoundMovie]:
    """Some movies of a session, under the names given; what is wrong with one is its problem."""
    headers, problems = read_headers(names, cache or HeaderCache())
    found = []
    for name, path in sorted(names.items()):
        try:
            movie = _describe_movie(folder, session, name, path, headers.get(name))
        except BadInput as error:
            problems.setdefault(name, str(error))
            movie = _describe_movie(folder, session, name, path, None)
        found.append(_find_movie(movie, problems.get(name), headers.get(name)))
    return found


def _find_movie(movie: Movie, problem: str | None, header: MovieHeader | None) -> FoundMovie:
    return FoundMovie(movie, problem, frames=header.frames if header else None)


def read_headers(names: Mapping[str, Path], cache: HeaderCache) -> tuple[dict[str, MovieHeader], dict[str, str]]:
    """Headers by movie, and what is wrong with those that have none."""
    headers: dict[str, MovieHeader] = {}
    problems: dict[str, str] = {}
    for name, path in names.items():
        try:
            headers[name] = cache.read(path, read_movie_header)
        except BadInput as error:
            problems[name] = str(error)
    return headers, problems


def _find_paths(folder: Path, session: SessionFile) -> list[Path]:
    aside = {folder / reference for reference in (session.gain, session.defects) if reference}
    found = sorted(path for path in folder.glob(session.movies) if path.is_file() and is_movie(path) and path not in aside)
    if not found:
        raise BadInput(f"{folder}: no movies match {session.movies!r}")
    return found


def name_movies(paths: Sequence[Path]) -> dict[str, Path]:
    """File names without suffix; where two files share one, the folder's name or the suffix comes with it."""
    stems = Counter(path.stem for path in paths)
    names: dict[str, Path] = {}
    for path in paths:
        choices = (path.stem, f"{path.parent.name}_{path.stem}", path.name.replace(".", "_"), f"{path.parent.name}_{path.name}")
        free = [name for name in choices[(1 if stems[path.stem] > 1 else 0) :] if name not in names]
        if not free:
            raise BadInput(f"{path}: another movie of the session has the same name")
        names[free[0]] = path
    return names


def _check_groups(session: SessionFile, names: dict[str, Path]) -> None:
    unknown = sorted(set(session.optics_groups or {}) - set(names))
    if unknown:
        raise BadInput(f"session {session.name}: optics_groups names {unknown[0]!r}, which is no movie of it")


def _describe_movie(folder: Path, session: SessionFile, name: str, path: Path, header: MovieHeader | None) -> Movie:
    pixel_size = session.pixel_size or (header.pixel_size if header else None)
    if pixel_size is None and header is None:
        pixel_size = 1.0  # unreadable: it is listed as a problem and never processed
    if pixel_size is None:
        raise BadInput(f"{path.name}: the header says no pixel size; give --pixel-size")
    optics = {
        key: value
        for key, value in (
            ("voltage", session.voltage),
            ("spherical_aberration", session.spherical_aberration),
            ("amplitude_contrast", session.amplitude_contrast),
            ("group", name_group(session, name)),
        )
        if value is not None
    }
    gain = find_reference(folder, session.gain, "gain")
    return Movie(
        name=name,
        path=path,
        pixel_size=pixel_size,
        optics=Optics.model_validate(optics),
        exposure_per_frame=session.exposure_per_frame,
        pre_exposure=session.pre_exposure or 0.0,
        gain=Gain(path=gain, rotation=session.gain_rotation or 0, flip=session.gain_flip or "none") if gain else None,
        defects=find_reference(folder, session.defects, "defects"),
    )


def name_group(session: SessionFile, movie: str) -> str:
    """The optics group of a movie, with the session's name: particles of several sessions are refined together."""
    group = (session.optics_groups or {}).get(movie)
    return session.name if group is None else f"{session.name}_{group}"


def find_reference(folder: Path, reference: str | None, what: str) -> Path | None:
    """A file that a person named, relative to the folder or absolute.

    Raises:
        BadInput: it is not there.
    """
    if reference is None:
        return None
    path = folder / Path(reference).expanduser()
    if not path.is_file():
        raise BadInput(f"{what} = {reference!r}: {path} is not there")
    return path
