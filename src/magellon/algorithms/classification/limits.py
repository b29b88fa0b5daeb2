"""How far classes may be trusted: a shell enters the references only after it was found without them.

The halves of a class are aligned to one reference, which makes them agree in whatever the reference holds, be it noise. But a
shell the reference does not hold is aligned by the others alone: there the halves agree only if the particles do. So references
start with a few shells, and the next one is taken when the halves agree significantly a little further out: not in the very
next shells, into which the mask (whose transform is as wide as the particle is narrow) carries what the reference knows.

All references hold the same shells, taken by what all classes say together: classes that still mix views agree too little to
take a shell one by one, and without it stay mixed. What a weak class makes of such a shell is weighed down by its own filter.
Nothing is claimed of any class beyond; below, its own halves say how far it reaches, and are biased by the common reference.
"""

import math

import torch
from torch import Tensor

from magellon.algorithms.classification.averages import FoldAverages, correlate_halves

_AGREED = 0.1
"""Mean correlation of all classes at which a shell is taken."""
_SIGMAS = 3.0
_SHOWN = 0.5
"""Correlation of a class, over two shells, down to which details count as shown."""
_WINDOW = 2
_PROVING = 4
"""Shells beyond the aligned ones that together prove that there is more than was aligned."""
_STEP = 2
"""Shells gained in a round at most."""


def ring_correlations(averages: FoldAverages) -> Tensor:
    """(K, shells + 1) Fourier ring correlation of the halves; 0 where there is nothing."""
    cross, first, second = correlate_halves(averages)
    norm = (first * second).sqrt()
    return torch.where(norm > 0, cross / norm.clamp(min=1e-20), torch.zeros_like(cross))


def advance_limit(limit: int, averages: FoldAverages, area: float, bounds: tuple[int, int]) -> int:
    """Shells of the references of the next round.

    Args:
        limit: shells of those the averages were made with.
        area: fraction of the box inside the mask: so many coefficients are independent, and so far the mask mixes them.
        bounds: the limit every run starts with, and the one it may not pass now.
    """
    share = averages.occupancy / averages.occupancy.sum().clamp(min=1e-12)
    correlation = (ring_correlations(averages) * share[:, None]).sum(0)
    counts, gap = averages.disc.counts, unmixed_distance(area)
    advanced = limit
    for _ in range(_STEP):
        shells = slice(advanced + gap, advanced + gap + _WINDOW)
        number = float(counts[shells].sum())
        if not number:
            break
        agreed = float((correlation[shells] * counts[shells]).sum()) / number
        independent = 2 * area * number / float((share**2).sum().clamp(min=1e-12))
        if agreed <= max(_AGREED, _SIGMAS / math.sqrt(independent)):
            break
        advanced += 1
    return max(bounds[0], min(advanced, bounds[1]))


def measure_proof(averages: FoldAverages, aligned: int, area: float) -> float:
    """Standard deviations by which the halves of all classes together agree where the alignment knew nothing; noise: 0 +- 1.

    Infinite where there is nothing beyond that could be looked at.

    Args:
        aligned: shells that particles were compared in.
        area: fraction of the box inside the mask.
    """
    first = aligned + unmixed_distance(area)
    shells = slice(first, first + _PROVING)
    counts = averages.disc.counts[shells]
    if not float(counts.sum()):
        return math.inf
    cross, power, other = (sums[:, shells].sum(1) for sums in correlate_halves(averages))
    norm = (power * other).sqrt()
    correlation = torch.where(norm > 0, cross / norm.clamp(min=1e-20), torch.zeros_like(cross))
    share = averages.occupancy / averages.occupancy.sum().clamp(min=1e-12)
    independent = 2 * area * float(counts.sum()) / float((share**2).sum().clamp(min=1e-12))
    return float((share * correlation).sum()) * math.sqrt(independent)


def shown_limits(averages: FoldAverages, bounds: tuple[int, int]) -> Tensor:
    """(K,) int64: shells up to which the halves of each class agree; between `bounds`."""
    first, last = bounds
    correlation = ring_correlations(averages)[:, : last + 1]
    good = (correlation[:, first + 1 :] + correlation[:, first:-1]) / 2 > _SHOWN
    return first + good.long().cumprod(dim=1).sum(dim=1)


def unmixed_distance(area: float) -> int:
    """Shells between two that a round mask with this part of the box's area does not mix: 1.5 over its diameter, at least 2."""
    return max(2, math.ceil(1.5 / (1.1 * math.sqrt(4 * area / math.pi))))


def first_shells(extent: float, most: int) -> int:
    """Shells a class starts with: details of a sixth of the particle's diameter.

    Args:
        extent: diameter of the particle as a fraction of the box.
    """
    return max(3, min(most, math.ceil(6 / extent)))
