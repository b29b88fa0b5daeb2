"""Running the network on an image of any size within bounded memory, with no seams.

Tiles overlap by what the network can see, and start at multiples of its stride, so that each pixel is computed from the
same numbers as without tiles: there is nothing to blend.
"""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from magellon.algorithms.denoising.network import REACH, STRIDE

TILE = 640
"""Side of the largest tile in pixels; its widest layers take about 10 MB each."""

Run = Callable[[Tensor], Tensor]
"""A network: (1, 1, height, width), multiples of the stride, to the same shape."""
Progress = Callable[[float], None]


def run_in_tiles(image: Tensor, run: Run, progress: Progress = lambda fraction: None, tile: int = TILE) -> Tensor:
    """Run a network on an image (height, width) whose sides are multiples of the stride.

    Args:
        tile: side of a tile, overlap included; a multiple of the stride above twice the reach.
    """
    result = torch.empty_like(image)
    spans = [(rows, columns) for rows in _spans(image.shape[0], tile) for columns in _spans(image.shape[1], tile)]
    for number, ((top, bottom), (left, right)) in enumerate(spans):
        progress(number / len(spans))
        seen_top, seen_left = max(0, top - REACH), max(0, left - REACH)
        seen = image[seen_top : bottom + REACH, seen_left : right + REACH]
        tile_result = run(seen.contiguous()[None, None])[0, 0]
        result[top:bottom, left:right] = tile_result[top - seen_top :, left - seen_left :][: bottom - top, : right - left]
    return result


def _spans(side: int, tile: int) -> Iterator[tuple[int, int]]:
    """First and last (excluded) pixel of each tile's own part along one side: about equal parts."""
    if side <= tile:
        yield 0, side
        return
    parts = math.ceil(side / (tile - 2 * REACH))
    step = math.ceil(side / parts / STRIDE) * STRIDE
    for start in range(0, side, step):
        yield start, min(start + step, side)
