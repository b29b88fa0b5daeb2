"""How rounds go on: few particles and blurred classes first, all particles at the end."""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.classification.particles import Poses

_PER_CLASS = 150
"""Particles of each class that early rounds look at."""
_COARSE = 4
"""Classes before all are seeded."""
_COOL = 0.8
"""Part of the rounds after which nothing is tempered any more."""
_EQUALS = 0.15
"""Difference of log-likelihoods that counts as little at first, as a part of the median particle's."""
_SETTLING = 0.85
"""Part of the rounds after which classes may take as many particles as they can."""
_MOST_SHARES = 2.0
"""Equal shares of the particles that a class may take while classes form."""
_FULL = 2
"""Rounds at the end that look at every particle."""


@dataclass(frozen=True)
class Schedule:
    """The rounds of a run over `count` particles."""

    count: int
    classes: int
    rounds: int
    first: int
    """Shells of the first references."""
    most: int
    """Shells that are compared at most."""
    growing: bool = True
    """Begin with one class and split; otherwise all classes are there from the start."""
    seeding: int | None = None
    """The round after which all classes are found at once, from the particles as the few until then have aligned them."""

    def active(self, number: int) -> int:
        """Classes there should be after round `number`."""
        if not self.growing or (self.seeding is not None and number >= self.seeding):
            return self.classes
        return min(self.classes, 1 << min(number, 30), self.classes if self.seeding is None else _COARSE)

    @property
    def settled(self) -> int:
        """The first round in which classes are no longer split."""
        return max(self.rounds - 4, self.rounds // 2)

    def cap(self, number: int) -> int:
        """Shells no reference may pass in round `number`: one more every other round, then free."""
        return self.most if number >= self.rounds // 2 or not self.growing else min(self.most, self.first + max(0, number - 2))

    def temperature(self, number: int, poses: Poses) -> float:
        """By what log-likelihoods are divided in round `number`: high at first, then falling to 1.

        At 1 particles settle in the first classes that fit, as many local optima as there are ways to begin. At first,
        hypotheses that differ by little of what a particle is worth (`_EQUALS`) compete as equals (deterministic annealing,
        Ueda & Nakano 1998, Neural Networks 11, 271).
        """
        found = poses.gain[poses.klass >= 0]
        if not self.growing or not len(found):
            return 1.0
        highest = max(_EQUALS * float(found.median()), 1.0)
        return 1 + (highest - 1) * max(0.0, 1 - number / (_COOL * self.rounds))

    def most_shares(self, number: int) -> float | None:
        """Equal shares of the particles a class may have after round `number`; None where each takes what it can.

        Bounded from the time all classes are there until they settle, then free, so that unequal abundances show.
        """
        forming = number < min(_SETTLING * self.rounds, self.rounds - _FULL) and self.active(number) == self.classes
        return _MOST_SHARES if self.growing and forming else None

    def draw(self, number: int, generator: torch.Generator) -> Tensor:
        """The particles of round `number`, ascending: a random part that grows, then all."""
        if number >= self.rounds - _FULL:
            return torch.arange(self.count)
        growth = 1 + 3 * number / max(self.rounds - _FULL, 1)
        size = int(max(_PER_CLASS * self.classes, 2000) * growth)
        if size >= self.count:
            return torch.arange(self.count)
        return torch.randperm(self.count, generator=generator)[:size].sort().values
