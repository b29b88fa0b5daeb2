"""Do two particles show the same view? The likelihood that they do over that of two views, whatever their rotations.

Each component (`steerable`) of a view has a variance s over views, and noise of variance 1 in each of the two images; so

log p(a, b | one view) - log p(a, b | two views)
    = sum of 2 s Re(conj(a) b) / (1 + 2 s) - s² (|a|² + |b|²) / ((1 + s) (1 + 2 s)), half of it where components are real.

Its maximum over the rotation of one image and over places a little beside where the other was found is what is kept.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.classification.disc import squared_modulus
from magellon.algorithms.parallel import map_in_order

_TURNS = 36
_ROWS = 32
"""Images that are compared with all others at a time."""


@dataclass(frozen=True)
class Pairs:
    """How alike images (n,) are, all with all."""

    value: Tensor
    """(n, n) float32, symmetric: the log-likelihoods, of both images being moved, added up; of an image with itself -inf."""
    turn: Tensor
    """(n, n) float32, antisymmetric: the angle of the column's content less that of the row's, radians."""


def compare_images(places: list[Tensor], orders: Tensor, signal: Tensor, threads: int = 1) -> Pairs:
    """Compare all images with each other.

    Args:
        places: components (n, M) complex64 of all images at each of the places, as they were found first.
        orders: (M,) of the components.
        signal: (M,) their variances beyond the noise's.
    """
    half = torch.where(orders == 0, 0.5, 1.0)
    cross = 2 * half * signal / (1 + 2 * signal)
    penalty = half * signal**2 / ((1 + signal) * (1 + 2 * signal))
    moved = torch.stack([torch.view_as_real(each * cross).flatten(1) for each in places])
    costs = torch.stack([squared_modulus(each) @ penalty for each in places])
    turns = torch.arange(_TURNS, device=orders.device) * (2 * math.pi / _TURNS)
    phases = torch.exp(1j * turns[:, None] * orders)
    table = torch.view_as_real(phases[:, None] * places[0]).flatten(2).flatten(0, 1).T  # (2M, turns * n)
    count = len(places[0])

    def compare(rows: Tensor) -> tuple[Tensor, Tensor]:
        best = torch.full((len(rows), count), -torch.inf, device=table.device)
        angle = torch.zeros_like(best)
        for features, cost in zip(moved, costs, strict=True):
            scores, turn = (features[rows] @ table).reshape(len(rows), _TURNS, count).max(dim=1)
            scores = scores - cost[rows, None]
            better = scores > best
            best = torch.where(better, scores, best)
            angle = torch.where(better, turns[turn], angle)
        return best - costs[0], angle

    pieces = list(map_in_order(compare, torch.split(torch.arange(count, device=orders.device), _ROWS), threads))
    value, angle = (torch.cat(each).cpu() for each in zip(*pieces, strict=True))
    both = (value + value.T).fill_diagonal_(-torch.inf)
    return Pairs(both, torch.where(value >= value.T, angle, -angle.T))
