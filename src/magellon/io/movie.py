"""Movies of any format, frame by frame, oriented as the rest of Magellon (and RELION) expects.

TIFF movies are flipped in y on reading; MRC and EER movies are not.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magellon.io.eer import EerMovie
from magellon.io.movie_header import find_movie_format
from magellon.io.movie_reader import MovieReader
from magellon.io.mrc import MrcFile, require_finite
from magellon.io.tiff import TiffFile
from magellon.io.tiff_header import find_pixel_size


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
    return EerMovie(path, upsampling=eer_upsampling, grouping=1 if eer_grouping is None else eer_grouping)


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
