"""What the network looks at: the picture at one scale, its contrast made even in two ways."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

MULTIPLE = 32
"""Sides of what the network looks at are multiples of this."""
PLANES = 3
_SAMPLES = 256
"""Rows and columns that are looked at for quantiles."""
_BLOCK = 8
_REACH = 4
"""Blocks on either side that make up a neighbourhood."""

Floats = NDArray[np.float32]


def tame_values(image: torch.Tensor) -> torch.Tensor:
    """Values that squares and sums do not overflow; their proportions stay."""
    low, high = torch.aminmax(image) if image.numel() else (torch.zeros(()), torch.zeros(()))
    highest = max(-float(low), float(high))  # with no copy: a montage may fill much of the memory
    return (image.double() / highest).float() if highest > 1e8 or 0 < highest < 1e-8 else image.float()


def make_planes(image: torch.Tensor) -> torch.Tensor:
    """(height, width) of finite values to (3, height', width'), sides multiples of `MULTIPLE`, zero where the picture ends.

    Plane 0 has the values relative to the whole picture's, plane 1 relative to the neighbourhood's, plane 2 is 1 inside the
    picture.
    """
    height, width = image.shape
    padding = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
    values = image.float()
    low, middle, high = find_quantiles(values, (0.01, 0.5, 0.99))
    scale = max(high - low, 1e-6 * max(abs(low), abs(high), 1e-20))
    whole = functional.pad(((values - middle) / scale).clamp(-2, 2), padding)
    mean, deviation = _describe_neighbourhood(whole, (height, width))
    planes = torch.zeros((PLANES, *whole.shape))
    torch.mul(whole, 2, out=planes[0])
    local = planes[1, :height, :width]
    torch.sub(whole[:height, :width], mean[:height, :width], out=local)
    local.div_(deviation[:height, :width].add_(0.01)).clamp_(-4, 4)
    planes[2, :height, :width] = 1
    return planes


def find_quantiles(image: torch.Tensor, shares: Sequence[float]) -> list[float]:
    """Values below which these shares of a regular sample of the pixels (height, width) lie."""
    height, width = image.shape
    sample = image[:: max(height // _SAMPLES, 1), :: max(width // _SAMPLES, 1)].flatten()
    return [float(sample.kthvalue(int(share * (len(sample) - 1)) + 1).values) for share in shares]


def _describe_neighbourhood(padded: torch.Tensor, shape: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation over 9 x 9 blocks of 8 x 8 pixels, of pixels inside the picture, `shape`, only."""
    blocks = functional.avg_pool2d(torch.stack([padded, padded * padded])[None], _BLOCK)[0]
    filled = [functional.pad(torch.ones(size), (0, whole - size)) for size, whole in zip(shape, padded.shape, strict=True)]
    rows, columns = (each.reshape(-1, _BLOCK).mean(1) for each in filled)
    blocks = torch.cat([blocks, (rows[:, None] * columns)[None]])
    around = functional.avg_pool2d(blocks[None], 2 * _REACH + 1, stride=1, padding=_REACH, count_include_pad=True)[0]
    total, squares, share = _stretch_blocks(around)
    share.clamp_(min=1e-3)
    mean, square = total.div_(share), squares.div_(share)
    return mean, square.sub_(mean * mean).clamp_(min=0).sqrt_()


def _stretch_blocks(blocks: torch.Tensor) -> torch.Tensor:
    """(..., rows, columns) of blocks to pixels, by straight lines between the blocks' middles."""
    share = (torch.arange(_BLOCK) + 0.5) / _BLOCK
    edged = torch.cat([blocks[..., :1, :], blocks, blocks[..., -1:, :]], dim=-2)[..., None, :]
    tall = edged[..., :-1, :, :] * (1 - share)[:, None] + edged[..., 1:, :, :] * share[:, None]
    tall = tall.flatten(-3, -2)[..., _BLOCK // 2 : -_BLOCK // 2, :]
    edged = torch.cat([tall[..., :1], tall, tall[..., -1:]], dim=-1)[..., None]
    wide = edged[..., :-1, :] * (1 - share) + edged[..., 1:, :] * share
    return wide.flatten(-2)[..., _BLOCK // 2 : -_BLOCK // 2]


def reduce_image(image: torch.Tensor, factor: int) -> torch.Tensor:
    """Mean over blocks of `factor` x `factor` pixels; blocks that reach over the far edges are those pixels' mean."""
    if factor == 1:
        return image
    return functional.avg_pool2d(image[None, None], factor, ceil_mode=True, count_include_pad=False)[0, 0]


def enlarge_image(image: torch.Tensor) -> torch.Tensor:
    """Twice as many pixels a side."""
    return _stretch(_stretch(image, 2 * image.shape[0]).mT, 2 * image.shape[1]).mT


def _stretch(values: torch.Tensor, size: int) -> torch.Tensor:
    """(..., rows, columns) to (..., size, columns) by straight lines between the rows' middles.

    Written out, since torch's own interpolation rounds differently with another number of threads.
    """
    rows = values.shape[-2]
    place = ((torch.arange(size, dtype=torch.float64) + 0.5) * rows / size - 0.5).clamp(0, rows - 1)
    before = place.floor().long()
    share = (place - before).float()[:, None].to(values.device)
    after = (before + 1).clamp(max=rows - 1)
    return values[..., before, :] * (1 - share) + values[..., after, :] * share
