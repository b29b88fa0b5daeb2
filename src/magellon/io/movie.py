"""Movies of any format, frame by frame, oriented as the rest of Magellon (and RELION) expects.

TIFF movies are flipped in y on reading; MRC and EER movies are not.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.eer import EerMovie
from magellon.io.files import find_suffix
from magellon.io.movie_reader import MovieFormat, MovieReader
from magellon.io.mrc import MrcFile, require_finite
from magellon.io.tiff import TiffFile, find_pixel_size

_SUFFIXES: dict[str, MovieFormat] = {
    ".mrc": "mrc", ".mrcs": "mrc", ".st": "mrc", ".map": "mrc", ".tif": "tiff", ".tiff": "tiff", ".eer": "eer", ".ecc": "eer",
}  # fmt: skip


def find_movie_format(path: Path | str) -> MovieFormat:
    """The format by the file's name, without `.gz` and `.bz2`.

    Raises:
        BadInput: a suffix that is none of a movie.
    """
    found = _SUFFIXES.get(find_suffix(path))
    if found is None:
        raise BadInput(f"{path}: not a movie: its name ends in none of {', '.join(_SUFFIXES)}")
    return found


def open_movie(path: Path | str, *, eer_upsampling: int = 1, eer_grouping: int | None = None) -> MovieReader:
    """Open a movie.

    Args:
        eer_upsampling: 1 renders an EER movie as the detector's pixels, 2 with its sub-pixels (twice the size).
        eer_grouping: raw EER frames summed to one; a remainder at the end is dropped. Default: all single.

    Raises:
        BadInput: damaged, or not a movie.
    """
    kind = find_movie_format(path)
    if kind == "mrc":
        return MrcMovie(path)
    if kind == "tiff":
        return TiffMovie(path)
    return EerMovie(path, upsampling=eer_upsampling, grouping=eer_grouping or 1)


class MrcMovie(MovieReader):
    """An MRC movie: rows as in the file."""

    format = "mrc"

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._mrc = MrcFile(path)
        self.frames, self.height, self.width = self._mrc.shape
        self.pixel_size = self._mrc.header.pixel_size

    def read(self, index: int) -> NDArray[Any]:
        self._check_index(index)
        return self._mrc.read(index, native=True)

    def close(self) -> None:
        self._mrc.close()


class TiffMovie(MovieReader):
    """A TIFF movie: the last row of the file becomes row 0."""

    format = "tiff"

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._tiff = TiffFile(path)
        self.frames = len(self._tiff.pages)
        self.height, self.width = self._tiff.shape
        self.pixel_size = find_pixel_size(self._tiff.pages[0])

    def read(self, index: int) -> NDArray[Any]:
        self._check_index(index)
        frame = self._tiff.read(index)
        require_finite(frame, f"{self.path}: frame {index + 1}")
        return np.ascontiguousarray(frame[::-1])

    def close(self) -> None:
        self._tiff.close()
