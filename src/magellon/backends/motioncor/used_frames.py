"""Which frames of a movie are used."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from magellon.contracts import BadInput, Movie
from magellon.io.movie_reader import MovieReader

_WANTED_EXPOSURE = 1.0
_MOST_EXPOSURE = 1.25


def choose_eer_grouping(movie: Movie) -> int:
    """How many raw EER frames give about 1 e/Å² together (0.5 to 1.25). Without an exposure 25, about 40 frames in all."""
    if movie.exposure_per_frame is None:
        return 25
    grouping = max(1, round(_WANTED_EXPOSURE / movie.exposure_per_frame))
    while grouping > 1 and grouping * movie.exposure_per_frame > _MOST_EXPOSURE:
        grouping -= 1
    return grouping


@dataclass(frozen=True)
class DeviceFrames:
    """A `FrameSource` of frames on a device."""

    reader: MovieReader
    first: int
    count: int
    device: str
    fresh: bool = True

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor | Any:
        frame = self.reader.read(self.first + index)
        if self.device == "cpu":
            return frame
        return torch.from_numpy(np.ascontiguousarray(frame)).to(self.device)


class UsedFrames:
    """Frames `first` to `last` of a movie, counted from 1; `last` 0 means the end.

    Raises:
        BadInput: the movie does not have them.
    """

    def __init__(self, reader: MovieReader, first: int, last: int) -> None:
        end = last or reader.frames
        if reader.frames == 0:
            raise BadInput(f"{reader.path}: the movie has no frames")
        if end > reader.frames:
            raise BadInput(f"{reader.path}: last_frame is {last}, the movie has {reader.frames} frames")
        if first > end:
            raise BadInput(f"{reader.path}: first_frame is {first}, the last frame used is {end}")
        self._reader, self._first, self._count = reader, first - 1, end - first + 1

    def on(self, device: str) -> DeviceFrames:
        return DeviceFrames(self._reader, self._first, self._count, device)
