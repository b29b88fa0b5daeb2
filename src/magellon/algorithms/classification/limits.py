"""How far each class may be trusted: a shell enters a reference only after it was found without it.

The halves of a class are aligned to one reference, which makes them agree in whatever the reference holds, be it noise. But a
shell the reference does not hold is aligned by the others alone: there the halves agree only if the particles do. So each class
starts with a few shells, and the next one is taken when the halves agree significantly a little further out: not in the very
next shells, into which the mask (whose transform is as wide as the particle is narrow) carries what the reference knows. The
resolution where that ends is free of the bias; the shells of the start are not, and are never counted as resolution.
"""

import math

import torch
from torch import Tensor

from magellon.algorithms.classification.averages import FoldAverages, correlate_halves
from magellon.algorithms.classification.disc import Disc

_AGREED = 0.3
"""Correlation at which a shell is taken."""
_LOST = 0.1
_SIGMAS = 3.0
_WINDOW = 2
_STEP = 2
"""Shells a class gains in a round at most."""


def ring_correlations(averages: FoldAverages) -> Tensor:
    """(K, shells + 1) Fourier ring correlation of the halves; 0 where there is nothing."""
    cross, first, second = correlate_halves(averages)
    norm = (first * second).sqrt()
    return torch.where(norm > 0, cross / norm.clamp(min=1e-20), torch.zeros_like(cross))


def advance_limits(limits: Tensor, averages: FoldAverages, area: float, bounds: tuple[int, int]) -> Tensor:
    """The limits (K,), in shells, of the next round.

    Args:
        limits: those the alignment was made with.
        area: fraction of the box inside the mask: so many coefficients are independent, and so far the mask mixes them.
        bounds: the limit every class starts with, and the one none may pass now.
    """
    lowest, highest = bounds
    disc = averages.disc
    cross, first, second = correlate_halves(averages)
    advanced = limits.clone()
    gap = unmixed_distance(area)
    for _ in range(_STEP):
        shells = advanced[:, None] + torch.arange(gap, gap + _WINDOW, device=limits.device)
        inside = shells <= disc.radius
        index = shells.clamp(max=disc.radius)
        agreed, number = _pool(cross, first, second, index, inside, disc, area)
        enough = (agreed > torch.maximum(torch.full_like(agreed, _AGREED), _SIGMAS / number.sqrt())) & inside[:, 0]
        advanced = torch.where(enough & (advanced < limits + _STEP), advanced + 1, advanced)
    top = torch.stack([limits - 1, limits], dim=1).clamp(min=0)
    held, _ = _pool(cross, first, second, top, torch.ones_like(top, dtype=torch.bool), disc, area)
    advanced = torch.where(held < _LOST, limits - 1, advanced)
    return advanced.clamp(lowest, highest)


def unmixed_distance(area: float) -> int:
    """Shells between two that a round mask with this part of the box's area does not mix: 1.5 over its diameter, at least 2."""
    return max(2, math.ceil(1.5 / (1.1 * math.sqrt(4 * area / math.pi))))


def _pool(
    cross: Tensor, first: Tensor, second: Tensor, index: Tensor, inside: Tensor, disc: Disc, area: float
) -> tuple[Tensor, Tensor]:
    """Correlation over several shells of each class, and how many independent numbers went into it."""
    # Each shell counts by its coefficients, whatever its power.
    counts = disc.counts[index] * inside
    norm = (first * second).sqrt().clamp(min=1e-20)
    each = (cross / norm).gather(1, index)
    number = (2 * area * counts.sum(1)).clamp(min=1)
    return (each * counts).sum(1) / counts.sum(1).clamp(min=1), number


def first_shells(extent: float, most: int) -> int:
    """Shells a class starts with: details of a sixth of the particle's diameter.

    Args:
        extent: diameter of the particle as a fraction of the box.
    """
    return max(3, min(most, math.ceil(6 / extent)))
