"""Pixels that do not count: found in the movie itself, and replaced by neighbours.

Replacement copies a randomly chosen good neighbour instead of an average, so that a replaced pixel has the noise of a real
one; the choice comes from a fixed seed and the frame's number.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.parallel import map_in_order

_BLOCK = 16
_BAND = 256
_CANDIDATES = 12
_RADIUS = 6


@dataclass(frozen=True)
class PixelRepair:
    """Where the bad pixels are and which good pixels may stand in for each."""

    bad: Tensor
    """(n,) flat indices."""
    substitutes: Tensor
    """(n, candidates) flat indices of good pixels nearby."""

    def apply(self, frame: Tensor, number: int, *, in_place: bool = False) -> Tensor:
        """A frame (height, width) with its bad pixels replaced."""
        if self.bad.numel() == 0:
            return frame
        generator = torch.Generator().manual_seed(number)
        choice = torch.randint(self.substitutes.shape[1], (self.bad.numel(), 1), generator=generator).to(self.bad.device)
        flat = frame.reshape(-1)
        flat = flat if in_place else flat.clone()
        flat[self.bad] = flat[self.substitutes.gather(1, choice)[:, 0]]
        return flat.view(frame.shape)


def find_outlier_pixels(total: Tensor, gain: Tensor | None, sigma: float, threads: int = 1) -> Tensor:
    """Hot and dead pixels: those whose sum over the movie is not that of their surroundings.

    Counts are compared as square roots, where shot noise is equally wide everywhere and a dead pixel stands out as a hot one
    does.

    Args:
        total: (height, width), sum of the frames as recorded, unaligned.
        gain: (height, width), multiplied with it.
        sigma: how many standard deviations (robust: from the median absolute deviation) a pixel may deviate from the mean of
            its block of 16 x 16.

    Returns:
        (height, width) bool.
    """
    height, width = total.shape
    positive = bool((total >= 0).all())

    def stabilise(rows: slice) -> Tensor:
        value = total[rows].float() if gain is None else total[rows] * gain[rows]
        return value.clamp_(min=0).sqrt_() if positive else value

    def deviate(start: int) -> Tensor:
        value = stabilise(slice(start, start + _BAND))
        return value - _block_mean(value.clamp(low, high))[: value.shape[0], :width]

    step = max(1, height // 64)
    sample = torch.cat([stabilise(slice(row, row + 1)).flatten() for row in range(0, height, step)])
    centre, spread = _median_and_spread(sample)
    if spread == 0:
        return torch.zeros(height, width, dtype=torch.bool, device=total.device)
    low, high = centre - 4 * spread, centre + 4 * spread
    bands = list(map_in_order(deviate, range(0, height, _BAND), threads))
    middle, noise = _median_and_spread(torch.cat([band[::_BLOCK].flatten() for band in bands]))
    if noise == 0:
        return torch.zeros(height, width, dtype=torch.bool, device=total.device)
    return torch.cat([(band - middle).abs_() > sigma * noise for band in bands])


def _median_and_spread(sample: Tensor) -> tuple[float, float]:
    middle = sample.median()
    return float(middle), 1.4826 * float((sample - middle).abs().median())


def plan_repair(bad: Tensor) -> PixelRepair:
    """Choose substitutes for each bad pixel: the nearest good ones within 6 px, else good pixels from all over the image.

    Args:
        bad: (height, width) bool.

    Raises:
        ValueError: no good pixel is left.
    """
    height, width = bad.shape
    where = bad.flatten().nonzero()[:, 0]
    if where.numel() == 0:
        return PixelRepair(where, where.new_zeros(0, 1))
    if where.numel() == bad.numel():
        raise ValueError("every pixel is bad")
    offsets = _near_offsets(bad.device)
    y = where[:, None] // width + offsets[:, 0]
    x = where[:, None] % width + offsets[:, 1]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    index = torch.where(inside, y * width + x, where[:, None])
    good = ~bad.flatten()[index]
    # A stable sort puts the good neighbours first and keeps them in order of distance.
    order = torch.argsort((~good).to(torch.uint8), dim=1, stable=True)[:, :_CANDIDATES]
    substitutes, usable = index.gather(1, order), good.gather(1, order)
    first = substitutes[:, :1].expand_as(substitutes)
    substitutes = torch.where(usable, substitutes, first)
    lonely = (~usable[:, 0]).nonzero()[:, 0]
    if lonely.numel():
        pool = (~bad).flatten().nonzero()[:, 0]
        generator = torch.Generator().manual_seed(0)
        pick = torch.randint(pool.numel(), (lonely.numel(), substitutes.shape[1]), generator=generator).to(pool.device)
        substitutes[lonely] = pool[pick]
    return PixelRepair(where, substitutes)


def _near_offsets(device: torch.device) -> Tensor:
    span = torch.arange(-_RADIUS, _RADIUS + 1, device=device)
    offsets = torch.cartesian_prod(span, span)
    distance = (offsets**2).sum(1)
    order = torch.argsort(distance, stable=True)[1:]
    return offsets[order][distance[order] <= _RADIUS**2]


def _block_mean(image: Tensor) -> Tensor:
    """Means of blocks of 16 x 16 pixels, spread over the pixels again; at least as large as the image."""
    height, width = image.shape
    pad = (0, -width % _BLOCK, 0, -height % _BLOCK)
    count = torch.nn.functional.pad(torch.ones_like(image), pad) if any(pad) else None
    image = torch.nn.functional.pad(image, pad)
    rows, columns = image.shape[0] // _BLOCK, image.shape[1] // _BLOCK
    blocks = image.view(rows, _BLOCK, columns, _BLOCK).sum(1).sum(-1)
    if count is None:
        blocks /= _BLOCK**2
    else:
        blocks /= count.view(rows, _BLOCK, columns, _BLOCK).sum(1).sum(-1)
    return blocks.repeat_interleave(_BLOCK, 0).repeat_interleave(_BLOCK, 1)
