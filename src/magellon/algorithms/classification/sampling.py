"""Which rotations and shifts are tried: a coarse grid everywhere, and a finer one around the best."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from magellon.algorithms.classification.disc import Disc

_COARSE_RADIUS = 10
"""Shells that the coarse search looks at, at most."""


@dataclass(frozen=True)
class Sampling:
    """The poses tried at a resolution."""

    disc: Disc
    """All coefficients that are compared in the fine search."""
    coarse: Disc
    angles: Tensor
    """(R,) degrees, evenly spaced from 0."""
    stride: int
    """Every so manieth angle is one of the coarse search."""
    shifts: Tensor
    """(S, 2) places of the coarse search, fractions of the box, (y, x)."""
    step: float
    """Between the places of the coarse search, fractions of the box."""

    @property
    def coarse_angles(self) -> Tensor:
        return self.angles[:: self.stride]

    def to(self, device: str) -> "Sampling":
        return replace(self, disc=self.disc.to(device), coarse=self.coarse.to(device))


def make_sampling(disc: Disc, extent: float, reach: float) -> Sampling:
    """Steps so fine that the phases of the highest frequencies turn by at most about pi / 4.

    Args:
        disc: up to the resolution of the references.
        extent: diameter of the particle as a fraction of the box.
        reach: the largest shift along one direction, fraction of the box.
    """
    coarse = disc.inner(min(disc.radius, _COARSE_RADIUS))
    stride = 3
    arc = 1 / (2 * disc.radius * extent)
    count = min(max(math.ceil(2 * math.pi / arc / stride), 24), 72)
    angles = torch.arange(count * stride) * (360 / (count * stride))
    step = 1 / (3 * coarse.radius)
    steps = max(math.ceil(reach / step - 0.25), 1)
    axis = torch.arange(-steps, steps + 1) * step
    grid = torch.cartesian_prod(axis, axis)
    near = grid.norm(dim=1) <= steps * step * 1.05
    return Sampling(disc, coarse, angles, stride, grid[near], step)


def local_offsets(step: float) -> Tensor:
    """(9, 2) places around one of the coarse search, half a step apart."""
    axis = torch.tensor([-0.5, 0.0, 0.5]) * step
    return torch.cartesian_prod(axis, axis)
