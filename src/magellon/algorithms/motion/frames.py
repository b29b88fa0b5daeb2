"""Frames of a movie: read once where memory allows, kept as they were recorded, gain applied where they are used."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magellon.algorithms.motion.pixels import PixelRepair, find_outlier_pixels, plan_repair
from magellon.algorithms.motion.settings import Budget, FrameSource
from magellon.algorithms.parallel import map_in_order
from magellon.errors import BadInput

_STRIP = 64  # rows that stay in the cache while they are worked on


@dataclass
class Frames:
    """The frames of one movie, bad pixels replaced. A frame times `gain` is the image."""

    source: FrameSource
    shape: tuple[int, int]
    gain: Tensor | None
    """(height, width); 1 at bad pixels, which hold the recorded value of another."""
    repair: PixelRepair
    kept: dict[int, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Tensor:
        """Frame `index` (height, width) in the type it was recorded in. Not to be changed."""
        frame = self.kept.get(index)
        if frame is None:
            fresh = getattr(self.source, "fresh", False)
            frame = self.repair.apply(check_frame(self.source[index], index, self.shape), index, in_place=fresh)
        return frame


@dataclass(frozen=True)
class Overview:
    """What one pass over the movie gives: the frames for the sums, and small copies for the alignment."""

    frames: Frames
    small: Tensor
    """(frames, height // factor, width // factor): block means, bad pixels left out."""
    factor: int


def check_frame(raw: Any, index: int, shape: tuple[int, int]) -> Tensor:
    """Frame `index` as a tensor, as recorded.

    Raises:
        BadInput: the frame's shape is not that of the movie.
    """
    frame = raw if isinstance(raw, Tensor) else torch.from_numpy(_torch_readable(np.asarray(raw)))
    if tuple(frame.shape) != shape:
        raise BadInput(f"frame {index + 1} is {_size(tuple(frame.shape))}, the first frame is {_size(shape)}")
    return frame.float() if frame.dtype == torch.float64 else frame


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
    if len(source) == 0:
        raise BadInput("the movie has no frames")
    first = source[0]
    shape = _check_shapes(first, gain, defects, factor)

    def read(index: int) -> tuple[Tensor, Tensor]:
        frame = check_frame(source[index] if index else first, index, shape)
        return frame, shrink_frame(frame, gain, factor)

    kept: dict[int, Tensor] = {}
    small: list[Tensor] = []
    total = torch.zeros(0)
    for index, (frame, shrunk) in enumerate(map_in_order(read, range(len(source)), budget.threads)):
        if index == 0:
            total = torch.zeros(shape, dtype=_sum_type(frame.dtype, len(source)), device=frame.device)
        total += frame
        small.append(shrunk)
        if len(source) * frame.numel() * frame.element_size() <= budget.memory // 3:
            kept[index] = frame
    _check_contrast(total, small)
    bad = find_outlier_pixels(total, gain, sigma, budget.threads)
    for known in (None if gain is None else ~(gain > 0), defects):
        bad = bad if known is None else bad | known.to(bad.device)
    try:
        repair = plan_repair(bad)
    except ValueError as error:
        raise BadInput(f"no usable pixel in the movie: {error}") from error
    fresh = getattr(source, "fresh", False)
    kept = {index: repair.apply(frame, index, in_place=fresh) for index, frame in kept.items()}
    if gain is not None:
        gain = gain.clone()
        gain.view(-1)[repair.bad] = 1.0
    stack = torch.stack(small)
    _repair_small(stack, repair, shape, factor)
    return Overview(Frames(source, shape, gain, repair, kept), stack, factor)


def shrink_frame(frame: Tensor, gain: Tensor | None, factor: int) -> Tensor:
    """Block means of factor x factor pixels of frame x gain, float32; a remainder at the right and bottom is dropped."""
    rows, columns = frame.shape[0] // factor, frame.shape[1] // factor
    shrunk = torch.empty(rows, columns, device=frame.device)
    step = max(1, _STRIP // factor)
    strip = torch.empty(step * factor, columns * factor, device=frame.device)
    for start in range(0, rows, step):
        end = min(start + step, rows)
        window = (slice(start * factor, end * factor), slice(0, columns * factor))
        image = strip[: (end - start) * factor]
        image.copy_(frame[window])
        if gain is not None:
            image *= gain[window]
        shrink(image, factor, shrunk[start:end])
    return shrunk


def shrink(image: Tensor, factor: int, out: Tensor) -> None:
    """Write block means of an image whose sides are multiples of the factor to `out`."""
    # Sums of strided slices are several times faster than a reduction over a view.
    by_rows = image[::factor]
    for offset in range(1, factor):
        by_rows = by_rows + image[offset::factor]
    blocks = by_rows[:, ::factor]
    for offset in range(1, factor):
        blocks = blocks + by_rows[:, offset::factor]
    torch.mul(blocks, 1 / factor**2, out=out)


def _repair_small(small: Tensor, repair: PixelRepair, shape: tuple[int, int], factor: int) -> None:
    """Replace the blocks that hold a bad pixel in every small frame, in place."""
    rows, columns = small.shape[-2:]
    y, x = repair.bad // shape[1] // factor, repair.bad % shape[1] // factor
    inside = (y < rows) & (x < columns)
    touched = torch.zeros(rows, columns, dtype=torch.bool, device=small.device)
    touched[y[inside], x[inside]] = True
    if bool(touched.all()) or not bool(touched.any()):
        return
    blocks = plan_repair(touched)
    for number in range(len(small)):
        blocks.apply(small[number], number, in_place=True)


def _check_shapes(first: Any, gain: Tensor | None, defects: Tensor | None, factor: int) -> tuple[int, int]:
    shape = tuple(first.shape)
    if len(shape) != 2:
        raise BadInput(f"a frame must be an image (height, width), not an array of shape {shape}")
    for name, image in (("gain reference", gain), ("defect map", defects)):
        if image is not None and tuple(image.shape) != shape:
            raise BadInput(f"the {name} is {_size(tuple(image.shape))}, the movie's frames are {_size(shape)}")
    least = 4 * factor
    if min(shape) < least:
        raise BadInput(f"frames of {_size(shape)} pixels are too small: at least {least} x {least} are needed")
    return shape[0], shape[1]


def _check_contrast(total: Tensor, small: list[Tensor]) -> None:
    low, high = float(total.min()), float(total.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        wrong = [number + 1 for number, image in enumerate(small) if not bool(torch.isfinite(image).all())]
        where = ", ".join(map(str, wrong[:5])) + (" ..." if len(wrong) > 5 else "")
        raise BadInput(f"NaN or infinite values in frame {where}" if wrong else "NaN or infinite values")
    if low == high:
        raise BadInput(f"the movie holds no image: every pixel sums to {low:g}")


def _sum_type(dtype: torch.dtype, frames: int) -> torch.dtype:
    """Sums of bytes are exact and quick in short integers."""
    return torch.int16 if dtype == torch.uint8 and frames <= 128 else torch.float32


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _torch_readable(array: NDArray[Any]) -> NDArray[Any]:
    """Native byte order, writable, and a type torch computes with."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype == np.uint16:
        return array.astype(np.int32)
    if array.dtype.newbyteorder("=") != array.dtype:
        return array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides) or not array.flags.writeable:
        return array.copy()
    return array
