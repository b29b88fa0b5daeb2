"""From movie files, folders and `session.json` to movies with their optics."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from magellon.cli.acquisition import MovieOptions, OpticsOptions
from magellon.cli.problems import naming
from magellon.cli.run.damaged import SetAside, Unreadable
from magellon.cli.run.names import name_uniquely
from magellon.contracts import Gain, Movie, Optics
from magellon.errors import BadInput
from magellon.io.movie_header import read_movie_header


def find_movies(files: Iterable[Path], optics: OpticsOptions, options: MovieOptions, aside: SetAside) -> list[Movie]:
    """One record per movie file, in the order given; pixel sizes from the headers unless given. Unreadable ones are set aside.

    Raises:
        BadInput: a pixel size is neither given nor in the header.
    """
    paths = list(files)
    names = name_uniquely(paths)
    gain = _find_gain(options)
    movies: list[Movie] = []
    for name, path in zip(names, paths, strict=True):
        movies += aside.attempt(name, partial(_make_movie, name, path, optics, options, gain))
    return movies


def make_optics(options: OpticsOptions, found: Optics | None = None) -> Optics:
    """What was given, over what a file says, over the defaults."""
    given = {
        "voltage": options.voltage,
        "spherical_aberration": options.spherical_aberration,
        "amplitude_contrast": options.amplitude_contrast,
        "group": options.group,
    }
    return Optics(**{**(found or Optics()).model_dump(), **{key: value for key, value in given.items() if value is not None}})


def _make_movie(name: str, path: Path, optics: OpticsOptions, options: MovieOptions, gain: Gain | None) -> Movie:
    try:
        pixel_size = optics.pixel_size or read_movie_header(path).pixel_size
    except BadInput as error:
        raise Unreadable(str(error)) from error
    if pixel_size is None:
        raise BadInput(f"{path}: the header gives no pixel size; say it with --pixel-size")
    with naming(path):
        return Movie(
            name=name,
            path=path,
            pixel_size=pixel_size,
            optics=make_optics(optics),
            exposure_per_frame=options.exposure_per_frame,
            pre_exposure=options.pre_exposure or 0.0,
            gain=gain,
            defects=options.defects.absolute() if options.defects else None,
        )


def _find_gain(options: MovieOptions) -> Gain | None:
    if options.gain is None:
        if options.gain_rotation or options.gain_flip not in (None, "none"):
            raise BadInput("--gain-rotation and --gain-flip need --gain")
        return None
    return Gain(path=options.gain.absolute(), rotation=options.gain_rotation or 0, flip=options.gain_flip or "none")
