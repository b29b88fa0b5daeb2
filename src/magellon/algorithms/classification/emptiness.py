"""Which boxes hold nothing: the gains of each class as a mixture of what noise reaches and what its particles do.

A class average of weak particles draws empty boxes, too: noise fits it as well as any. How many there are differs from class to
class, so each class's part of empty boxes and the gain typical of its particles are found together by expectation-maximisation
(Dempster et al. 1977, J. R. Stat. Soc. B 39, 1). What noise reaches is known: the best of thousands of poses.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

_NOISE_GAIN, _NOISE_SPREAD = 5.5, 2.3
"""Mean and standard deviation of the gain of boxes without any particle among classes of particles."""
_EMPTY, _WEIGHT = 0.15, 20.0
"""Prior part of empty boxes, and the number of particles that knowledge is worth."""
_SPREAD = 0.35
"""Standard deviation of the particles' own gains within a class, as a part of the typical one: views and defoci differ."""
_STEPS = 30


@dataclass(frozen=True)
class Emptiness:
    """Of K classes of N particles."""

    chance: Tensor
    """(N,) probability that the box holds nothing."""
    share: Tensor
    """(K,) part of the class that does."""
    typical: Tensor
    """(K,) mean gain of the boxes that hold something; not below that of noise."""
    breadth: Tensor
    """(K,) variance of their gains over that of one and the same particle in noise, twice the mean; less one standard error."""


def find_empty(gain: Tensor, klass: Tensor, classes: int) -> Emptiness:
    """Tell empty boxes from particles.

    Args:
        gain: (N,) log-likelihood over that of no particle.
        klass: (N,) int64, 0..K-1.
    """
    count = torch.bincount(klass, minlength=classes).to(gain)
    share = torch.full((classes,), _EMPTY, device=gain.device)
    typical = mean_by_class(gain, klass, classes).clamp(min=_NOISE_GAIN)
    chance = torch.zeros_like(gain)
    for _ in range(_STEPS):
        chance = _chances(gain, share[klass], typical[klass])
        number = mean_by_class(chance, klass, classes) * count
        share = (number + _EMPTY * _WEIGHT) / (count + _WEIGHT)
        typical = mean_by_class(gain, klass, classes, 1 - chance).clamp(min=_NOISE_GAIN)
    held = mean_by_class(1 - chance, klass, classes) * count
    variance = mean_by_class((gain - typical[klass]) ** 2, klass, classes, 1 - chance)
    breadth = variance / (2 * typical) * (1 - (2 / held.clamp(min=2)).sqrt())
    return Emptiness(chance, share, typical, breadth)


def weigh_losses(chance: Tensor, candidates: Tensor, loss: float) -> Tensor:
    """Chances (N,) of being empty, with odds so much lower that setting boxes aside from one half on loses few particles.

    Args:
        candidates: (N,) bool: the boxes in question.
        loss: part of the particles among them that may be expected to be lost. Where even odds lose less, they stay.
    """
    filled = (1 - chance[candidates].double()).sort().values
    lost = filled.cumsum(0) <= loss * filled.sum()
    last = int(lost.sum())
    if last == len(filled) or float(filled[last]) > 0.5:
        return chance
    # Between the last that may go and the first that stays.
    odds = float(filled[last]) / (1 - float(filled[last]))
    weighted = chance * odds
    return weighted / (weighted + 1 - chance).clamp(min=1e-12) * (1 - 1e-6)


def _chances(gain: Tensor, share: Tensor, typical: Tensor) -> Tensor:
    noise = share * _normal(gain, torch.full_like(gain, _NOISE_GAIN), torch.full_like(gain, _NOISE_SPREAD))
    particle = (1 - share) * _normal(gain, typical, (2 * typical + (_SPREAD * typical) ** 2).sqrt())
    chance = noise / (noise + particle).clamp(min=1e-30)
    # Far below what noise reaches both densities vanish, and a box is empty all the same.
    return torch.where(gain < _NOISE_GAIN, torch.maximum(chance, torch.sigmoid((_NOISE_GAIN - 1 - gain) / 0.7)), chance)


def _normal(value: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    return torch.exp(-0.5 * ((value - mean) / spread) ** 2) / spread


def mean_by_class(values: Tensor, klass: Tensor, classes: int, weights: Tensor | None = None) -> Tensor:
    """(K,) means, weighted where weights are given; 0 where a class weighs nothing. The same on any number of threads."""
    weights = torch.ones_like(values) if weights is None else weights
    order = torch.argsort(klass, stable=True)
    count = torch.bincount(klass, minlength=classes)
    ends = count.cumsum(0)
    both = torch.stack([values * weights, weights])[:, order].double()
    sums = torch.nn.functional.pad(both.cumsum(1), (1, 0))
    total, weight = sums[:, ends] - sums[:, ends - count]
    return torch.where(weight > 1e-6, total / weight.clamp(min=1e-6), torch.zeros_like(total)).to(values)
