"""Sums of frames moved back to where the first one was.

The image is cut into tiles small enough for one displacement each; in a tile every frame is interpolated with a short
separable kernel and all wanted combinations of frames are added up in one matrix product. The tiles need no overlap, so no
frame is ever transformed at full size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.motion.field import MotionField
from magellon.algorithms.motion.frames import Frames
from magellon.algorithms.motion.parallel import map_in_order
from magellon.algorithms.motion.settings import Budget

TAPS = 6
_BEFORE = TAPS // 2 - 1


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
    weights = torch.sinc(position) * window
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
    sums = torch.zeros(weights.shape[0], height, width, device=device)
    tiles = _cut_tiles(frames.shape, field.local is None)
    centres = torch.tensor([[t.y + (t.height - 1) / 2, t.x + (t.width - 1) / 2] for t in tiles], dtype=torch.float64)
    displacement = field.displacement(centres)
    weights = weights.to(device=device, dtype=torch.float32)
    for chunk in _chunks(frames, budget):
        loaded = list(map_in_order(frames.__getitem__, chunk, budget.threads))
        share = weights[:, list(chunk)].contiguous()

        def add_tile(number: int, chunk: Sequence[int] = chunk, loaded: list[Tensor] = loaded, share: Tensor = share) -> None:
            tile = tiles[number]
            moved = _sample(loaded, tile, displacement[list(chunk), number])
            target = sums[:, tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
            target += (share @ moved.flatten(1)).view(target.shape)

        for _ in map_in_order(add_tile, range(len(tiles)), budget.threads):
            pass
    return sums


def _sample(images: Sequence[Tensor], tile: _Tile, displacement: Tensor) -> Tensor:
    """Each image (height, width) sampled at the pixels of the tile plus its displacement (images, 2): (images, h, w)."""
    whole = displacement.floor()
    corners = (whole.long() - _BEFORE + torch.tensor([tile.y, tile.x])).tolist()
    kernel = shift_kernel(displacement - whole).to(device=images[0].device, dtype=torch.float32)
    rows, columns = tile.height + TAPS - 1, tile.width + TAPS - 1
    block = torch.stack([_crop(image, y, x, rows, columns) for image, (y, x) in zip(images, corners, strict=True)])
    along_y = kernel[:, 0, :, None, None]
    along_x = kernel[:, 1, :, None, None]
    across = block[:, : tile.height] * along_y[:, 0]
    for tap in range(1, TAPS):
        across.addcmul_(block[:, tap : tap + tile.height], along_y[:, tap])
    moved = across[:, :, : tile.width] * along_x[:, 0]
    for tap in range(1, TAPS):
        moved.addcmul_(across[:, :, tap : tap + tile.width], along_x[:, tap])
    return moved


def _crop(image: Tensor, y: int, x: int, rows: int, columns: int) -> Tensor:
    """A window of the image; what lies outside is mirrored in."""
    height, width = image.shape
    if y >= 0 and x >= 0 and y + rows <= height and x + columns <= width:
        return image[y : y + rows, x : x + columns]
    return image[_mirrored(y, rows, height, image.device)][:, _mirrored(x, columns, width, image.device)]


def _mirrored(start: int, count: int, size: int, device: torch.device) -> Tensor:
    index = torch.arange(start, start + count, device=device) % (2 * size)
    return torch.minimum(index, 2 * size - 1 - index)


def _cut_tiles(shape: tuple[int, int], rigid: bool) -> list[_Tile]:
    size = 128 if not rigid else 256
    return [
        _Tile(y, x, min(size, shape[0] - y), min(size, shape[1] - x))
        for y in range(0, shape[0], size)
        for x in range(0, shape[1], size)
    ]


def _chunks(frames: Frames, budget: Budget) -> list[range]:
    """Runs of frames that fit into memory together; all of them when they are there already."""
    per_frame = frames.shape[0] * frames.shape[1] * 4
    size = len(frames) if len(frames.kept) == len(frames) else max(1, min(len(frames), budget.memory // 4 // per_frame))
    return [range(start, min(start + size, len(frames))) for start in range(0, len(frames), size)]
