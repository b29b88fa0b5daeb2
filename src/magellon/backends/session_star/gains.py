"""Gain references turned to lie as the movies do, which RELION's polishing needs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.contracts import Gain, GainOrientation, Movie, SessionItem
from magellon.io.gain import read_gain
from magellon.io.movie import open_movie
from magellon.io.mrc import write_mrc


def write_turned_gains(workdir: Path, items: Sequence[SessionItem]) -> tuple[Path, ...]:
    """Write every gain reference that RELION cannot use as it is stored, sorted by name.

    RELION takes the result unchanged: no rotation, no flip.
    """
    movies: dict[Gain, Movie] = {}
    for item in items:
        if item.motion_correction is not None and item.movie is not None and item.movie.gain is not None:
            movies.setdefault(find_used_gain(item.movie.gain, item.motion_correction.gain_orientation), item.movie)
    written = [_write_turned(workdir / gain.turned_name, gain, movie) for gain, movie in movies.items() if gain.turned_name]
    return tuple(sorted(written))


def find_used_gain(gain: Gain, orientation: GainOrientation | None) -> Gain:
    """The reference as it was used, which the gain check may have turned."""
    if orientation is None:
        return gain
    return gain.model_copy(update={"rotation": orientation.rotation, "flip": orientation.flip})


def _write_turned(path: Path, gain: Gain, movie: Movie) -> Path:
    with open_movie(movie.path) as frames:
        shape, kind = (frames.height, frames.width), frames.format
    factors = read_gain(gain.path, movie_format=kind, shape=shape, rotation=gain.rotation, flip=gain.flip)
    # RELION divides by an MRC gain when the movie is EER, and multiplies otherwise.
    write_mrc(path, _reciprocal(factors) if kind == "eer" else factors, movie.pixel_size)
    return path


def _reciprocal(factors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(factors > 0, 1 / np.where(factors > 0, factors, 1), 0).astype(np.float32)
