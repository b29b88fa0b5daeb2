"""EER movies: raw electron events of Falcon 4 detectors, rendered in groups of frames."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from magellon.io.movie_reader import MovieReader


class EerMovie(MovieReader):
    """An EER movie rendered at one or two times the detector's pixels; rows as in the file."""

    format = "eer"

    def __init__(self, path: Path | str, *, upsampling: int = 1, grouping: int = 1) -> None:
        super().__init__(path)
        raise NotImplementedError("EER")

    def read(self, index: int) -> NDArray[Any]:
        raise NotImplementedError("EER")
