"""Sums of frames moved back to where the first one was.

The image is cut into tiles small enough for one displacement each. A tile is taken from every frame with a margin, at whole
pixels, and moved by what remains of its displacement in Fourier space, where all wanted combinations of frames are added up
in one matrix product before they are transformed back. A shift by phases keeps the power and the signal of every frequency,
which an interpolation with a short kernel does not; in blocks that stay in the cache it costs less as well.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.motion.field import MotionField, grid_centres
from magellon.algorithms.motion.frames import Frames
from magellon.algorithms.motion.settings import Budget
from magellon.algorithms.parallel import map_in_order

_BOXES = (256, 192, 160, 128, 96, 64)
_MARGIN = 10  # px: what comes round from the far side of a box by the shift is no more than a percent of the noise beyond
_STEP = 0.3  # px: how much the displacement may change over a tile, RMS over frames and field
_CHUNK = 24  # images held at once: fixed, because the order of additions shows in the last bits


@dataclass(frozen=True)
class _Tile:
    y: int
    x: int
    height: int
    width: int


@dataclass(frozen=True)
class _Chunk:
    """Frames that are added at once."""

    images: list[Tensor]
    gain: Tensor | None
    weights: Tensor
    """(sums, images)."""
    displacement: Tensor
    """(images, tiles, 2)."""
    first: bool
    """Whether the sums hold nothing yet."""


def sum_frames(frames: Frames, field: MotionField, weights: Tensor, budget: Budget) -> Tensor:
    """Combinations of the aligned frames.

    Args:
        weights: (sums, frames).

    Returns:
        (sums, height, width) float32: Σ_f weights[s, f] x frame f sampled at p + displacement_f(p).
    """
    height, width = frames.shape
    device = frames[0].device
    sums = torch.empty(weights.shape[0], height, width, device=device)
    box = _choose_box(field)
    tiles = _cut_tiles(frames.shape, box - 2 * _MARGIN)
    centres = torch.tensor([[t.y + (t.height - 1) / 2, t.x + (t.width - 1) / 2] for t in tiles], dtype=torch.float64)
    displacement = field.displacement(centres)
    weights = weights.to(device=device, dtype=torch.float32)
    used = weights.ne(0).any(dim=0).nonzero()[:, 0].tolist()
    for start in range(0, len(used), _CHUNK):
        numbers = used[start : start + _CHUNK]
        images = list(map_in_order(frames.__getitem__, numbers, budget.threads))
        chunk = _Chunk(images, frames.gain, weights[:, numbers].contiguous(), displacement[numbers], start == 0)
        for _ in map_in_order(partial(_add_tile, sums, chunk, tiles, box), range(len(tiles)), budget.threads):
            pass
    return sums


def _add_tile(sums: Tensor, chunk: _Chunk, tiles: Sequence[_Tile], box: int, number: int) -> None:
    """Add the frames of a chunk, moved back, to one tile of the sums (sums, height, width)."""
    tile = tiles[number]
    whole = chunk.displacement[:, number].round()
    before = ((box - tile.height) // 2, (box - tile.width) // 2)
    corners = (whole.long() + torch.tensor([tile.y - before[0], tile.x - before[1]])).tolist()
    blocks = torch.empty(len(chunk.images), box, box, device=sums.device)
    for target, image, (y, x) in zip(blocks, chunk.images, corners, strict=True):
        _copy_window(target, image, chunk.gain, y, x)
    transforms = torch.fft.rfft2(blocks)
    along_y, along_x = _phases(chunk.displacement[:, number] - whole, box)
    transforms.mul_(along_y.to(sums.device)).mul_(along_x.to(sums.device))
    added = (chunk.weights @ torch.view_as_real(transforms).flatten(1)).view(-1, *transforms.shape[1:], 2)
    moved = torch.fft.irfft2(torch.view_as_complex(added), s=(box, box))
    inner = moved[:, before[0] : before[0] + tile.height, before[1] : before[1] + tile.width]
    target = sums[:, tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
    if chunk.first:
        target.copy_(inner)
    else:
        target += inner


def _phases(displacement: Tensor, box: int) -> tuple[Tensor, Tensor]:
    """Factors (images, box, 1) and (images, 1, box // 2 + 1) that move images back by displacement (images, 2) in px."""
    frequencies = rfft_frequencies((box, box))
    turns = [displacement[:, axis, None, None].float() * (2 * math.pi) * k for axis, k in enumerate(frequencies)]
    along_y, along_x = (torch.complex(turn.cos(), turn.sin()) for turn in turns)
    return along_y, along_x


def _copy_window(target: Tensor, image: Tensor, gain: Tensor | None, y: int, x: int) -> None:
    """Copy the window of image x gain that starts at (y, x); what lies outside is mirrored in."""
    rows, columns = _Span(y, target.shape[0], image.shape[0]), _Span(x, target.shape[1], image.shape[1])
    if not (rows.mirrors_itself and columns.mirrors_itself):
        index_y, index_x = (_mirrored(span.start, span.length, span.size).to(image.device) for span in (rows, columns))
        part = image[index_y[:, None], index_x]
        target.copy_(part if gain is None else part * gain[index_y[:, None], index_x])
        return
    window = (rows.source, columns.source)
    inner = target[rows.inside, columns.inside]
    inner.copy_(image[window])
    if gain is not None:
        inner *= gain[window]
    # What is outside is mirrored from what has just been copied: rows first, then whole columns.
    for span, part in ((rows, target[:, columns.inside]), (columns, target.T)):
        for outside, inside in span.reflections:
            part[outside] = part[inside].flip(0)


@dataclass(frozen=True)
class _Span:
    """A window along one axis of an image, part of which may lie outside."""

    start: int
    length: int
    size: int
    """Of the image."""

    @property
    def before(self) -> int:
        return max(0, -self.start)

    @property
    def after(self) -> int:
        return max(0, self.start + self.length - self.size)

    @property
    def inside(self) -> slice:
        """Of the window."""
        return slice(self.before, self.length - self.after)

    @property
    def source(self) -> slice:
        """Of the image."""
        return slice(self.start + self.before, self.start + self.length - self.after)

    @property
    def mirrors_itself(self) -> bool:
        """Whether what lies outside is the mirror image of something in the window."""
        return max(self.before, self.after) <= self.length - self.before - self.after

    @property
    def reflections(self) -> list[tuple[slice, slice]]:
        """Parts of the window outside the image, and inside parts they are mirror images of."""
        near, far = self.before, self.length - self.after
        both = [(slice(0, near), slice(near, 2 * near)), (slice(far, self.length), slice(2 * far - self.length, far))]
        return [(outside, inside) for outside, inside in both if outside.start < outside.stop]


def _mirrored(start: int, count: int, size: int) -> Tensor:
    index = torch.arange(start, start + count) % (2 * size)
    return torch.minimum(index, 2 * size - 1 - index)


def _choose_box(field: MotionField) -> int:
    """The largest box over whose tile the motion is one displacement for all practical purposes."""
    if field.local is None:
        return _BOXES[0]
    spacing = max(field.shape) / 16
    grid = field.displacement(grid_centres(field.shape, (16, 16)))
    steps = torch.cat([(grid[:, 1:] - grid[:, :-1]).flatten(0, 2), (grid[:, :, 1:] - grid[:, :, :-1]).flatten(0, 2)])
    slope = float(steps.square().sum(-1).mean().sqrt()) / spacing
    return next((box for box in _BOXES if (box - 2 * _MARGIN) * slope <= _STEP), _BOXES[-1])


def _cut_tiles(shape: tuple[int, int], largest: int) -> list[_Tile]:
    """Tiles of about equal size that cover the image."""
    rows, columns = (_cut(side, largest) for side in shape)
    return [_Tile(y, x, next_y - y, next_x - x) for y, next_y in rows for x, next_x in columns]


def _cut(side: int, largest: int) -> list[tuple[int, int]]:
    count = -(-side // largest)
    return [(side * number // count, side * (number + 1) // count) for number in range(count)]
