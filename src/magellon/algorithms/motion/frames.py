"""Frames ready for use: gain applied, bad pixels replaced, kept in memory only when there is room."""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from magellon.algorithms.motion.parallel import map_in_order
from magellon.algorithms.motion.pixels import PixelRepair, find_outlier_pixels, plan_repair
from magellon.algorithms.motion.settings import Budget, FrameSource
from magellon.errors import BadInput


@dataclass
class Frames:
    """The frames of one movie as float32 images (height, width)."""

    source: FrameSource
    shape: tuple[int, int]
    gain: Tensor | None
    repair: PixelRepair
    kept: dict[int, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Tensor:
        """Frame `index` with gain applied and bad pixels replaced. Not to be changed."""
        kept = self.kept.get(index)
        return kept if kept is not None else self._prepare(index)

    def forget(self, index: int) -> None:
        """The frame will not be asked for again."""
        self.kept.pop(index, None)

    def _prepare(self, index: int) -> Tensor:
        frame = read_frame(self.source, index, self.shape, self.gain)
        self.repair.apply(frame, index)
        return frame


@dataclass(frozen=True)
class Overview:
    """What one pass over the movie gives: the frames for the sums, and small copies for the alignment."""

    frames: Frames
    small: Tensor
    """(frames, height // factor, width // factor): block means, bad pixels left out."""
    factor: int


def read_frame(source: FrameSource, index: int, shape: tuple[int, int], gain: Tensor | None) -> Tensor:
    """One frame times the gain, as a new float32 tensor.

    Raises:
        BadInput: the frame's shape is not that of the movie.
    """
    raw = source[index]
    frame = raw if isinstance(raw, Tensor) else torch.from_numpy(_torch_readable(np.asarray(raw)))
    if tuple(frame.shape) != shape:
        raise BadInput(f"frame {index + 1} is {tuple(frame.shape)}, the first frame is {shape}")
    if gain is not None:
        return torch.mul(frame, gain) if frame.dtype != torch.float64 else (frame * gain).float()
    return frame.to(torch.float32, copy=True)


def survey_movie(
    source: FrameSource, gain: Tensor | None, defects: Tensor | None, factor: int, sigma: float, budget: Budget
) -> Overview:
    """Read every frame once: sum them to find bad pixels, and shrink each by block averaging.

    Args:
        gain: (height, width), multiplied; 0 marks a dead pixel.
        defects: (height, width) bool of pixels known to be bad.
        factor: of the shrinking.
        sigma: see `find_outlier_pixels`.

    Raises:
        BadInput: no frames, shapes that differ, NaN, or a movie without any contrast.
    """
    shape = _movie_shape(source)
    for name, image in (("gain", gain), ("defect map", defects)):
        if image is not None and tuple(image.shape) != shape:
            raise BadInput(f"the {name} is {tuple(image.shape)}, the movie's frames are {shape}")
    if min(shape) < factor:
        raise BadInput(f"frames of {shape[0]} x {shape[1]} pixels are too small; at least {factor} x {factor} are needed")
    keep = len(source) * shape[0] * shape[1] * 4 <= budget.memory // 2

    def read(index: int) -> tuple[int, Tensor, Tensor]:
        frame = read_frame(source, index, shape, gain)
        return index, frame, shrink(frame, factor)

    total: Tensor | None = None
    kept: dict[int, Tensor] = {}
    small: list[Tensor] = []
    for index, frame, shrunk in map_in_order(read, range(len(source)), budget.threads):
        total = frame.clone() if total is None else total.add_(frame)
        small.append(shrunk)
        if keep:
            kept[index] = frame
    assert total is not None
    _check_contrast(total, small)
    bad = find_outlier_pixels(total, sigma)
    for known in (None if gain is None else ~(gain > 0), defects):
        bad = bad if known is None else bad | known.to(bad.device)
    try:
        repair = plan_repair(bad)
    except ValueError as error:
        raise BadInput(f"no usable pixel in the movie: {error}") from error
    stack = torch.stack(small)
    _repair_small(stack, bad, factor)
    frames = Frames(source, shape, gain, repair, kept)
    for index, frame in kept.items():
        repair.apply(frame, index)
    return Overview(frames, stack, factor)


def shrink(image: Tensor, factor: int) -> Tensor:
    """Block means of factor x factor pixels; a remainder at the right and bottom is dropped."""
    if factor == 1:
        return image.clone()
    rows, columns = image.shape[-2] // factor, image.shape[-1] // factor
    image = image[: rows * factor, : columns * factor]
    # Sums of strided slices are several times faster than a reduction over a view.
    by_rows = image[::factor].clone()
    for offset in range(1, factor):
        by_rows += image[offset::factor]
    blocks = by_rows[:, ::factor].clone()
    for offset in range(1, factor):
        blocks += by_rows[:, offset::factor]
    return blocks.div_(factor * factor)


def _repair_small(small: Tensor, bad: Tensor, factor: int) -> None:
    """Replace the blocks that hold a bad pixel in every small frame."""
    touched = shrink(bad.to(torch.float32), factor) > 0
    if bool(touched.all()):
        return
    repair = plan_repair(touched)
    for number, image in enumerate(small):
        repair.apply(image, number)


def _movie_shape(source: FrameSource) -> tuple[int, int]:
    if len(source) == 0:
        raise BadInput("the movie has no frames")
    shape = tuple(source[0].shape)
    if len(shape) != 2:
        raise BadInput(f"a frame must be an image (height, width), not an array of shape {shape}")
    return shape[0], shape[1]


def _check_contrast(total: Tensor, small: list[Tensor]) -> None:
    low, high = float(total.min()), float(total.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        wrong = [number + 1 for number, image in enumerate(small) if not bool(torch.isfinite(image).all())]
        raise BadInput(
            f"NaN or infinite values in frame {wrong[0] if wrong else 1}"
            + (f" and {len(wrong) - 1} more" if len(wrong) > 1 else "")
        )
    if low == high:
        raise BadInput(f"the movie holds no image: every pixel sums to {low:g}")


def _torch_readable(array: np.ndarray) -> np.ndarray:
    """Native byte order and a type torch knows."""
    if array.dtype.newbyteorder("=") != array.dtype:
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if any(stride < 0 for stride in array.strides) or not array.flags.writeable:
        return array.copy()
    return array
