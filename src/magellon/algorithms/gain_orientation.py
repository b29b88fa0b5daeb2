"""How a gain reference lies relative to the movies: the orientation whose pattern the raw movies show.

Pixels of a detector differ by a few per cent in how they count. Summed over some movies, raw frames show that pattern above the
shot noise, and a gain reference is its reciprocal. Only one of the eight ways to lay the reference down agrees; the correlation
of each of the others is that of unrelated noise.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

_BOX = 9
"""Pixels of the local mean that is taken off: specimen, beam and drift are smoother than this, a detector's pattern is not."""
_CLIP = 4.0
"""Robust standard deviations; hot pixels and the edges of dead ones would outweigh all others."""

Orientation = TypeVar("Orientation")


@dataclass(frozen=True)
class Agreement:
    """How well one orientation explains what the movies show."""

    correlation: float
    """Of the movies' pattern with the reciprocal of the gain: about 0 for a wrong orientation; clearly negative when the
    reference has to be divided by."""
    sigma: float
    """The same in standard deviations of unrelated noise."""


def compare_gain(summed: Tensor, gain: Tensor) -> Agreement:
    """Compare the sum of raw frames with a gain reference in one orientation.

    Args:
        summed: (height, width), counts as stored, of all frames of some movies.
        gain: (height, width), factors that the frames are multiplied with; 0 marks a dead pixel.
    """
    usable = (gain > 0) & (summed > 0)
    count = int(usable.sum())
    if count < _BOX * _BOX:
        return Agreement(0.0, 0.0)
    expected = torch.where(usable, 1 / torch.where(usable, gain, torch.ones_like(gain)), torch.zeros_like(gain))
    first, second = find_pattern(summed, usable), find_pattern(expected, usable)
    scale = math.sqrt(float((first.double() ** 2).sum()) * float((second.double() ** 2).sum()))
    if scale == 0:
        return Agreement(0.0, 0.0)
    correlation = float((first.double() * second.double()).sum()) / scale
    return Agreement(correlation, correlation * math.sqrt(count))


def find_pattern(image: Tensor, usable: Tensor) -> Tensor:
    """What is left of an image relative to its local mean, without outliers; 0 where it is not usable."""
    weight = usable.to(torch.float32)
    mean = _average(image.to(torch.float32) * weight)
    share = _average(weight)
    local = mean / share.clamp_min(1e-6)
    relative = torch.where(usable & (local > 0), image / local.clamp_min(1e-12) - 1, torch.zeros_like(mean))
    values = relative[usable]
    values = values[:: max(1, values.numel() // 1_000_000)]  # quantile takes no more than 16 million
    middle = values.median()
    spread = 1.4826 * (values - middle).abs().median()
    if float(spread) == 0:
        spread = values.std()
    clipped = (relative - middle).clamp(-_CLIP * float(spread), _CLIP * float(spread))
    return torch.where(usable, clipped, torch.zeros_like(clipped))


def rank_orientations(summed: Tensor, candidates: Mapping[Orientation, Tensor]) -> list[tuple[Orientation, Agreement]]:
    """All candidates, the one that agrees best first; equal ones in the order given."""
    found = [(orientation, compare_gain(summed, gain)) for orientation, gain in candidates.items()]
    return sorted(found, key=lambda pair: -pair[1].correlation)


def _average(image: Tensor) -> Tensor:
    """Mean of the box around each pixel, as far as it lies in the image."""
    pooled = torch.nn.functional.avg_pool2d(image[None, None], _BOX, stride=1, padding=_BOX // 2, count_include_pad=False)
    return pooled[0, 0]
