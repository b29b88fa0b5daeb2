"""Session folders as inputs of `magellon run`: their movies with the optics `session.json` gives."""

from collections.abc import Sequence
from pathlib import Path

from magellon.cli.run.movies import make_optics
from magellon.cli.run.request import Request
from magellon.contracts import Gain, Movie
from magellon.errors import BadInput


def expand_sessions(paths: Sequence[Path], request: Request) -> list[Movie]:
    """The movies of each session; what was given on the command line wins over `session.json`.

    Raises:
        BadInput: not a session.
    """
    return [_override(movie, request) for path in paths for movie in _read_session(path)]


def _read_session(path: Path) -> Sequence[Movie]:
    raise BadInput(f"{path}: give the movie files themselves")


def _override(movie: Movie, request: Request) -> Movie:
    optics, options = request.optics, request.movie
    gain = movie.gain
    if options.gain is not None:
        gain = Gain(path=options.gain.absolute(), rotation=options.gain_rotation or 0, flip=options.gain_flip or "none")
    changes = {
        "pixel_size": optics.pixel_size,
        "exposure_per_frame": options.exposure_per_frame,
        "pre_exposure": options.pre_exposure,
        "defects": options.defects.absolute() if options.defects else None,
    }
    given = {key: value for key, value in changes.items() if value is not None}
    return movie.model_copy(update={**given, "gain": gain, "optics": make_optics(optics, movie.optics)})
