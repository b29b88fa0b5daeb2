"""What squares and holes have in common once they are found: a rank, a kind, and a place among others of one size."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from magellon.algorithms.targets.candidates import Floats
from magellon.algorithms.targets.gather import Targets
from magellon.algorithms.targets.lattice import FoundLattice

SAME_SIZE = 0.12
"""Targets whose measured size differs from the usual by less have the usual one."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Best first, as arrays of equal length; lengths in pixels."""

    x: Floats
    y: Floats
    score: Floats
    """Chance of being there, 0-1."""
    kinds: Floats
    """(n, kinds): shares of 1, in the order of the network's kinds."""
    kind: tuple[str, ...]
    brightness: Floats
    """Mean value inside."""
    good: NDArray[np.bool_]
    """Worth going to."""
    lattice: FoundLattice | None

    def __len__(self) -> int:
        return len(self.x)


def rank_targets(targets: Targets, kinds: tuple[str, ...], seen: Floats) -> NDArray[np.int64]:
    """Their order: real, good and whole ones first. `seen` is the share of each that the picture shows."""
    good = targets.found.kinds[:, kinds.index("good")]
    return np.argsort(-(targets.score * good * seen), kind="stable")


def name_kinds(targets: Targets, kinds: tuple[str, ...]) -> tuple[str, ...]:
    """The likeliest kind of each."""
    return tuple(kinds[int(each)] for each in targets.found.kinds.argmax(axis=1))


def move_targets(targets: Targets, x: Floats, y: Floats, size: Floats) -> Targets:
    """The same elsewhere, or of other sizes."""
    return replace(targets, found=replace(targets.found, x=x, y=y, size=size))


def sort_targets(targets: Targets, kinds: Floats) -> Targets:
    """The same with other shares of the kinds."""
    return replace(targets, found=replace(targets.found, kinds=kinds))


def settle_sizes(targets: Targets) -> Floats:
    """Sizes, those on the lattice or close to the usual one made equal to it: the grid's maker made them so."""
    size = targets.found.size
    if len(size) == 0:
        return size
    usual = np.float32(np.median(size[targets.score >= np.median(targets.score)]))
    same = (np.abs(size / usual - 1) < SAME_SIZE) | (targets.placed & targets.solid)
    settled: Floats = np.where(same, usual, size).astype(np.float32)
    return settled


def sample_spiral(count: int) -> tuple[Floats, Floats]:
    """`count` points spread evenly over the unit disc."""
    turn = np.arange(count) * math.pi * (3 - math.sqrt(5))
    reach = np.sqrt((np.arange(count) + 0.5) / count)
    return (reach * np.cos(turn)).astype(np.float32), (reach * np.sin(turn)).astype(np.float32)


def read_points(image: torch.Tensor, x: Floats, y: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Values at the pixels nearest to points, and which of the points lie in the picture."""
    height, width = image.shape
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    values = image.cpu().numpy()[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return values.astype(np.float32), inside
