"""Weak holes of a lattice: nodes at which the picture shows something though the network saw nothing.

Thick ice makes some holes as dark as their film or darker. What tells is the picture itself: at a node with a hole the middle
differs from the film beside it by more than pieces of film differ from each other.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from magellon.algorithms.targets.candidates import Candidates, Floats
from magellon.algorithms.targets.found import read_points, sample_spiral
from magellon.algorithms.targets.gather import FAINT_HEAT, SURE_HEAT, Targets
from magellon.algorithms.targets.lattice import FoundLattice

HINT = 0.2
"""Heat of a node at which only the picture shows something: `Calibration` says what that is worth on a lattice."""
_SIGMAS = 5.0
_POINTS = 48
_MIDDLE = 0.5
"""Part of a hole's radius that is averaged."""
_LEAST_FILM = 12
"""Pieces of film that tell how much they differ."""
_ROUNDS = 6
"""In each, holes are found beside those of the one before."""

Index = NDArray[np.int64]


def fill_nodes(image: torch.Tensor, targets: Targets) -> Targets:
    """The same with all nodes beside sure targets at which the picture (height, width) shows a hole, `HINT` their heat."""
    lattice = targets.lattice
    if not targets.solid or lattice is None:
        return targets
    sure = targets.placed & (targets.found.heat > FAINT_HEAT)
    nodes = _cover(lattice, (int(image.shape[0]), int(image.shape[1])), targets.index[sure])
    shown = _show(image, lattice, nodes, targets.size / 2)
    known = _among(nodes, targets.index[sure])
    for _ in range(_ROUNDS):
        if not known.any():
            return targets
        near = np.asarray(cKDTree(nodes[known]).query_ball_point(nodes, 2.1, p=np.inf, return_length=True)) >= 3
        more = known | (shown & near)
        if more.sum() == known.sum():
            break
        known = more
    filled = nodes[known & shown]
    there = _among(targets.index, filled) & targets.placed
    heat = np.where(there, np.maximum(targets.found.heat, HINT), targets.found.heat).astype(np.float32)
    targets = replace(targets, found=replace(targets.found, heat=heat), score=heat)
    return _add(targets, filled[~_among(filled, targets.index[targets.placed])], lattice)


def _cover(lattice: FoundLattice, shape: tuple[int, int], seen: Index) -> Index:
    """Nodes in the picture, two beyond those seen at most."""
    low, high = seen.min(0) - 2, seen.max(0) + 2
    i, j = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1), indexing="ij")
    nodes = np.stack([i.ravel(), j.ravel()], axis=1)
    return nodes[_lies_in(lattice.place(nodes), shape)]


def _lies_in(points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (points >= 0).all(1) & (points[:, 0] <= shape[1] - 1) & (points[:, 1] <= shape[0] - 1)
    return inside


def _show(image: torch.Tensor, lattice: FoundLattice, nodes: Index, radius: float) -> NDArray[np.bool_]:
    """Which nodes differ from the film around them as no film does."""
    deep, free = _find_deep(lattice)
    shape = (int(image.shape[0]), int(image.shape[1]))
    film = np.concatenate([lattice.place(nodes) + sign * deep for sign in (1, -1)])
    film = np.unique(np.round(film[_lies_in(film, shape)], 3), axis=0)
    reach = min(_MIDDLE * radius, max(free - radius, 0.2 * radius))
    if len(film) < _LEAST_FILM:
        return np.zeros(len(nodes), dtype=np.bool_)
    points = lattice.place(nodes)
    here, beside = _average(image, points, _MIDDLE * radius), _average(image, film, reach)
    tree, count = cKDTree(film), 4
    around = beside[np.asarray(tree.query(points, count)[1])]
    differ = np.abs(here - np.median(around, axis=1))
    others = beside[np.asarray(tree.query(film, count + 1)[1])[:, 1:]]
    usual = float(np.median(np.abs(beside - np.median(others, axis=1)))) * 1.4826
    shown: NDArray[np.bool_] = differ > np.maximum(_SIGMAS * usual, around.max(1) - around.min(1))
    shown &= differ > 0
    return shown


def _find_deep(lattice: FoundLattice) -> tuple[NDArray[np.float64], float]:
    """The step from a node to the place farthest from all nodes, and how far that is."""
    part = np.arange(24) / 24
    steps = np.stack(np.meshgrid(part, part, indexing="ij"), axis=-1).reshape(-1, 2) @ np.stack([lattice.a, lattice.b])
    corners = np.array([(i, j) for i in (-1, 0, 1, 2) for j in (-1, 0, 1, 2)]) @ np.stack([lattice.a, lattice.b])
    distance = np.hypot(*(steps[:, None] - corners[None]).transpose(2, 0, 1)).min(1)
    best = int(np.argmax(distance))
    return steps[best], float(distance[best])


def _average(image: torch.Tensor, points: NDArray[np.float64], radius: float) -> Floats:
    """Mean over a disc around each point, of what lies in the picture."""
    across, down = sample_spiral(_POINTS)
    x, y = points[:, :1] + radius * across, points[:, 1:] + radius * down
    values, inside = read_points(image, x, y)
    mean: Floats = (values * inside).sum(1) / np.maximum(inside.sum(1), 1)
    return mean


def _among(nodes: Index, others: Index) -> NDArray[np.bool_]:
    """Which rows of `nodes` are rows of `others`."""
    known = {(int(i), int(j)) for i, j in others}
    return np.array([(int(i), int(j)) in known for i, j in nodes], dtype=np.bool_)


def _add(targets: Targets, nodes: Index, lattice: FoundLattice) -> Targets:
    """Targets at nodes, in place of what lies closer to them than half a size."""
    if len(nodes) == 0:
        return targets
    points, found = lattice.place(nodes), targets.found
    near = np.asarray(cKDTree(points).query(np.stack([found.x, found.y], axis=1))[0]) < 0.5 * targets.size
    targets = targets.take(~(near & ~targets.placed & (found.heat < SURE_HEAT)))
    found, count = targets.found, len(nodes)
    even = np.full((count, found.kinds.shape[1]), 1 / found.kinds.shape[1], dtype=np.float32)
    angle = np.full(count, float(np.median(found.angle)), dtype=np.float32)
    x, y = points.astype(np.float32).T
    size, heat = (np.full(count, value, dtype=np.float32) for value in (targets.size, HINT))
    new = Candidates(x, y, size, heat, even, angle)
    names = Candidates.__dataclass_fields__
    together = Candidates(*(np.concatenate([getattr(found, name), getattr(new, name)]) for name in names))
    return replace(
        targets,
        found=together,
        score=together.heat,
        index=np.concatenate([targets.index, nodes]),
        placed=np.concatenate([targets.placed, np.ones(count, dtype=np.bool_)]),
    )
