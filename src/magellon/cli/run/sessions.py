"""Session folders as inputs of `magellon run`: their movies with the optics `session.json` gives."""

from collections.abc import Sequence
from pathlib import Path

from magellon.cli.run.request import Request
from magellon.contracts import Movie
from magellon.platform.sessions.definition import SESSION_FILE, Acquisition, read_session
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
        found = scan_movies(folder, read_session(folder, make_acquisition(request)))
        movies += [each.movie for each in found]  # one with a problem fails on its own, with the reason
    return movies


def make_acquisition(request: Request) -> Acquisition:
    """What the flags say of how the movies were taken."""
    optics, movie = request.optics, request.movie
    return Acquisition(
        pixel_size=optics.pixel_size,
        voltage=optics.voltage,
        spherical_aberration=optics.spherical_aberration,
        amplitude_contrast=optics.amplitude_contrast,
        exposure_per_frame=movie.exposure_per_frame,
        pre_exposure=movie.pre_exposure,
        gain=str(movie.gain.absolute()) if movie.gain else None,
        gain_rotation=movie.gain_rotation,
        gain_flip=movie.gain_flip,
        defects=str(movie.defects.absolute()) if movie.defects else None,
    )
