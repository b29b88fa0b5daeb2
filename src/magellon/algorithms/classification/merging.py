"""Groups of particles made fewer: those whose averages, turned as they fit best, say the same are put together.

k-means spends most of its clusters where most particles are, several on one view and none on a rare one. So there are more
clusters at first, and each step joins the two whose union costs least log-likelihood (Ward 1963, J. Am. Stat. Assoc. 58, 236):
two of one view differ by noise only, a rare view from every other by all its particles hold.
"""

import torch
from torch import Tensor

from magellon.algorithms.classification.disc import Disc
from magellon.algorithms.classification.rotation import turn_references

_ANGLES = 72


class Groups:
    """Groups (M,) of particles, by the sums their averages are made of."""

    def __init__(self, sums: Tensor, transfer: Tensor, disc: Disc) -> None:
        """
        Args:
            sums: (M, d) c x / sigma² of the particles, upright.
            transfer: (M, shells + 1) c² / sigma².
        """
        self.sums, self.transfer, self.disc = sums.clone(), transfer.clamp(min=1e-6), disc
        self.group = torch.arange(len(sums), device=sums.device)
        """(M,) the group that each of the first ones is part of now."""
        self.angle = torch.zeros(len(sums), device=sums.device)
        """(M,) degrees by which each was turned to lie in it."""
        self._angles = torch.arange(_ANGLES) * (360.0 / _ANGLES)
        self._turned = turn_references(self.sums, disc, self._angles)
        rows = [self._compare(index) for index in range(len(sums))]
        self._cost = torch.stack([cost for cost, _ in rows])
        self._best = torch.stack([best for _, best in rows])

    def join(self, count: int) -> None:
        """Join groups until there are `count`, and number them 0..count-1."""
        for _ in range(len(self.sums) - count):
            first, second = divmod(int(self._cost.argmin()), len(self.sums))
            self._join_two(first, second)
        left, self.group = torch.unique(self.group, return_inverse=True)
        self.sums, self.transfer = self.sums[left], self.transfer[left]

    def _join_two(self, first: int, second: int) -> None:
        turn = self._best[first, second]
        self.sums[first] += self._turned[second, turn]
        self.transfer[first] += self.transfer[second]
        moved = self.group == second
        self.group[moved] = first
        self.angle[moved] += self._angles.to(self.angle)[turn]
        self._turned[first] = turn_references(self.sums[first : first + 1], self.disc, self._angles)[0]
        gone = torch.isinf(self._cost).all(0)
        gone[second] = True
        cost, best = self._compare(first)
        cost[gone] = torch.inf
        self._cost[second] = torch.inf
        self._cost[:, second] = torch.inf
        self._cost[first], self._cost[:, first] = cost, cost
        self._best[first] = best
        self._best[:, first] = (-best) % _ANGLES

    def _compare(self, index: int) -> tuple[Tensor, Tensor]:
        """(M,) each: the log-likelihood lost if a group joined this one, and the index of the angle it is turned by."""
        own, others = self.transfer[index], self.transfer
        shells = self.disc.shells
        scaled = self.sums[index].conj() / (own + others)[:, shells]
        cross, best = torch.einsum("md,mad->ma", scaled, self._turned).real.max(1)
        power = self.disc.shell_sums(self.sums.abs() ** 2)
        apart = (others * power[index] / own + own * power / others) / (own + others)
        cost = apart.sum(1) - 2 * cross
        cost[index] = torch.inf
        return cost, best
