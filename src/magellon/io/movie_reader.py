"""What every movie reader gives, whatever the format."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from numpy.typing import NDArray

from magellon.io.movie_header import MovieFormat


class MovieReader(ABC):
    """Frames of a movie. Several threads may call `read` at once. A context manager.

    Only the frame asked for is held in memory.
    """

    format: MovieFormat
    frames: int
    height: int
    width: int
    pixel_size: float | None
    """Å/px as the file says, of the frames as given here; None when it does not."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)

    @abstractmethod
    def read(self, index: int) -> NDArray[Any]:
        """One frame, counted from 0.

        Returns:
            (height, width), in the type of the file (4-bit as uint8).

        Raises:
            IndexError: no such frame.
            BadInput: the frame is damaged or holds NaN or infinite pixels.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def _check_index(self, index: int) -> None:
        if not 0 <= index < self.frames:
            raise IndexError(f"{self.path} has {self.frames} frames, no frame {index}")

    def __len__(self) -> int:
        return self.frames

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self.read(index) for index in range(self.frames))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
