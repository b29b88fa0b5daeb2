"""Sums of frames moved back to where the first one was.

The image is cut into tiles small enough for one displacement each; in a tile every frame is interpolated with a short
separable kernel and all wanted combinations of frames are added up in one matrix product. The tiles need no overlap, so no
frame is ever transformed at full size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.motion.field import MotionField, grid_centres
from magellon.algorithms.motion.frames import Frames
from magellon.algorithms.motion.parallel import map_in_order
from magellon.algorithms.motion.settings import Budget

TAPS = 6
_BEFORE = TAPS // 2 - 1
_TILES = (512, 256, 128, 64)
_STEP = 0.4  # px: how much the displacement may change over a tile, RMS over frames and field
_CHUNK = 24  # images held at once: fixed, because the order of additions shows in the last bits
_CACHED = 150_000  # pixels of a batch of tiles that stays in the cache


@dataclass(frozen=True)
class _Tile:
    y: int
    x: int
    height: int
    width: int


def shift_kernel(fraction: Tensor) -> Tensor:
    """Weights of the samples -2..3 that interpolate at `fraction` (0..1): a sinc in a Kaiser window, with sum 1.

    Args:
        fraction: (...).

    Returns:
        (..., 6). The response stays within 1 % of 1 up to 0.35 cycles per pixel.
    """
    position = torch.arange(TAPS, dtype=torch.float64, device=fraction.device) - _BEFORE - fraction.double()[..., None]
    window = torch.special.i0(5.0 * (1 - (position / (TAPS / 2)) ** 2).clamp(min=0).sqrt())
    weights: Tensor = torch.sinc(position) * window
    return weights / weights.sum(-1, keepdim=True)


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
    size = _choose_tile(field)
    tiles = _cut_tiles(frames.shape, size)
    centres = torch.tensor([[t.y + (t.height - 1) / 2, t.x + (t.width - 1) / 2] for t in tiles], dtype=torch.float64)
    displacement = field.displacement(centres)
    weights = weights.to(device=device, dtype=torch.float32)
    used = weights.ne(0).any(dim=0).nonzero()[:, 0].tolist()
    for start in range(0, len(used), _CHUNK):
        chunk = used[start : start + _CHUNK]
        images = list(map_in_order(frames.__getitem__, chunk, budget.threads))
        share = weights[:, chunk].contiguous()
        motion = displacement[chunk]

        def add_tile(
            number: int, first: bool = start == 0, images: list[Tensor] = images, share: Tensor = share, motion: Tensor = motion
        ) -> None:
            tile = tiles[number]
            moved = _sample(images, frames.gain, tile, motion[:, number])
            added = (share @ moved).view(-1, tile.height, tile.width + TAPS - 1)[..., : tile.width]
            target = sums[:, tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
            if first:
                target.copy_(added)
            else:
                target.add_(added)

        for _ in map_in_order(add_tile, range(len(tiles)), budget.threads):
            pass
    return sums


def _sample(images: Sequence[Tensor], gain: Tensor | None, tile: _Tile, displacement: Tensor) -> Tensor:
    """Each image x gain sampled at the pixels of the tile plus its displacement (images, 2).

    Returns:
        (images, height * (width + taps - 1)) of the tile; the last taps - 1 columns mean nothing.
    """
    whole = displacement.floor()
    corners = (whole.long() - _BEFORE + torch.tensor([tile.y, tile.x])).tolist()
    kernel = shift_kernel(displacement - whole).to(device=images[0].device, dtype=torch.float32)
    rows, columns = tile.height + TAPS - 1, tile.width + TAPS - 1
    block = torch.empty(len(images), rows, columns, device=images[0].device)
    for target, image, (y, x) in zip(block, images, corners, strict=True):
        _copy_window(target, image, gain, y, x)
    # Rows lie one behind the other, so that a shift in y or x is an offset in long runs of numbers.
    flat, length = block.flatten(1), tile.height * columns
    moved = torch.zeros(len(images), length, device=block.device)
    batch = max(1, _CACHED // length)
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        across = flat[part, :length] * kernel[part, 0, :1]
        for tap in range(1, TAPS):
            across.addcmul_(flat[part, tap * columns : tap * columns + length], kernel[part, 0, tap : tap + 1])
        target = moved[part, : length - TAPS + 1]
        torch.mul(across[:, : target.shape[1]], kernel[part, 1, :1], out=target)
        for tap in range(1, TAPS):
            target.addcmul_(across[:, tap : tap + target.shape[1]], kernel[part, 1, tap : tap + 1])
    return moved


def _copy_window(target: Tensor, image: Tensor, gain: Tensor | None, y: int, x: int) -> None:
    """Copy the window of image x gain that starts at (y, x); what lies outside is mirrored in."""
    rows, columns = target.shape
    height, width = image.shape
    if y >= 0 and x >= 0 and y + rows <= height and x + columns <= width:
        window = (slice(y, y + rows), slice(x, x + columns))
        target.copy_(image[window])
        if gain is not None:
            target *= gain[window]
        return
    index_y, index_x = _mirrored(y, rows, height), _mirrored(x, columns, width)
    top, left = int(index_y.min()), int(index_x.min())
    # Only the part that is needed is worked on, not whole rows.
    window = (slice(top, int(index_y.max()) + 1), slice(left, int(index_x.max()) + 1))
    part = image[window].float() if gain is None else image[window] * gain[window]
    place = ((index_y - top).to(image.device)[:, None], (index_x - left).to(image.device))
    target.copy_(part[place])


def _mirrored(start: int, count: int, size: int) -> Tensor:
    index = torch.arange(start, start + count) % (2 * size)
    return torch.minimum(index, 2 * size - 1 - index)


def _choose_tile(field: MotionField) -> int:
    """The largest tile over which the motion is one displacement for all practical purposes."""
    if field.local is None:
        return _TILES[0]
    spacing = max(field.shape) / 16
    grid = field.displacement(grid_centres(field.shape, (16, 16)))
    steps = torch.cat([(grid[:, 1:] - grid[:, :-1]).flatten(0, 2), (grid[:, :, 1:] - grid[:, :, :-1]).flatten(0, 2)])
    slope = float(steps.square().sum(-1).mean().sqrt()) / spacing
    return next((size for size in _TILES if size * slope <= _STEP), _TILES[-1])


def _cut_tiles(shape: tuple[int, int], size: int) -> list[_Tile]:
    return [
        _Tile(y, x, min(size, shape[0] - y), min(size, shape[1] - x))
        for y in range(0, shape[0], size)
        for x in range(0, shape[1], size)
    ]
