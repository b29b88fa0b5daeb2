"""What the network looks at: the picture at one scale, its contrast made even in two ways."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

MULTIPLE = 32
"""Sides of what the network looks at are multiples of this."""
PLANES = 3
_BLOCK = 8
_REACH = 4
"""Blocks on either side that make up a neighbourhood."""

Floats = NDArray[np.float32]


def make_planes(image: torch.Tensor) -> torch.Tensor:
    """(height, width) of finite values to (3, height', width'), sides multiples of `MULTIPLE`, zero where the picture ends.

    Plane 0 has the values relative to the whole picture's, plane 1 relative to the neighbourhood's, plane 2 is 1 inside the
    picture.
    """
    height, width = image.shape
    padding = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
    values = image.float()
    sample = values[:: max(height // 256, 1), :: max(width // 256, 1)].flatten().sort().values
    low, middle, high = (sample[int(share * (len(sample) - 1))] for share in (0.01, 0.5, 0.99))
    scale = torch.clamp(high - low, min=1e-6 * float(max(abs(float(low)), abs(float(high)), 1e-20)))
    whole = ((values - middle) / scale).clamp(-2, 2)
    inside = functional.pad(torch.ones_like(whole), padding)
    padded = functional.pad(whole, padding)
    mean, deviation = _describe_neighbourhood(padded, inside)
    local = ((padded - mean) / (deviation + 0.01)).clamp(-4, 4) * inside
    return torch.stack([2 * padded, local, inside])


def _describe_neighbourhood(padded: torch.Tensor, inside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation over 9 x 9 blocks of 8 x 8 pixels, of pixels inside the picture only."""
    blocks = functional.avg_pool2d(torch.stack([padded, padded * padded, inside])[None], _BLOCK)
    around = functional.avg_pool2d(blocks, 2 * _REACH + 1, stride=1, padding=_REACH, count_include_pad=True)
    sums = _stretch(_stretch(around[0], padded.shape[0]).mT, padded.shape[1]).mT
    share = sums[2].clamp(min=1e-3)
    mean, square = sums[0] / share, sums[1] / share
    return mean, (square - mean * mean).clamp(min=0).sqrt()


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
