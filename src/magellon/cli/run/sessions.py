"""Session folders as inputs of `magellon run`: their movies with the optics `session.json` gives."""

from collections.abc import Sequence
from pathlib import Path

from magellon.cli.acquisition import make_acquisition
from magellon.cli.run.request import Request
from magellon.contracts import Movie
from magellon.platform.sessions.definition import SESSION_FILE, read_session
from magellon.platform.sessions.scan import scan_movies


def is_session(path: Path) -> bool:
    """Whether a path given as a file means a whole session."""
    return path.is_dir() or path.name == SESSION_FILE


def expand_sessions(paths: Sequence[Path], request: Request) -> list[Movie]:
    """The movies of each session; what was given on the command line wins over `session.json`.

    Raises:
        BadInput: not a session.
    """
    movies = []
    for path in paths:
        folder = path if path.is_dir() else path.absolute().parent
        found = scan_movies(folder, read_session(folder, make_acquisition(request.optics, request.movie)))
        movies += [each.movie for each in found]  # one with a problem fails on its own, with the reason
    return movies
