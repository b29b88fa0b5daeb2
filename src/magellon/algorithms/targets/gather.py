"""From candidates to targets: of one size, on one lattice where there is one, with a score that is a probability."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from magellon.algorithms.targets.candidates import (
    Candidates,
    Floats,
    NetworkFacts,
    Predict,
    find_candidates,
    keep_size,
    rank_sizes,
)
from magellon.algorithms.targets.lattice import FoundLattice, fit_lattice

SURE_HEAT, FAINT_HEAT = 0.35, 0.15
"""Of candidates that a lattice is made of: of faint ones too where sure ones make none: chance makes none either."""
SOLID_COUNT, SOLID_SHARE = 8, 0.7
"""So many of the sure candidates, and such a share of them, lie on a lattice that speaks for and against others."""
_SIZES = 3
"""That are tried."""
_LATTICE_BONUS = 3.0
"""Times that a size counts whose targets lie on a lattice."""
_FAR = 0.05
"""Distance from a node that may be an error of the edges, relative to the size."""
_SPECK = 1 / 12
"""Of the picture: of smaller holes so many fit into it that they would show their lattice; without one they are specks."""
_OFF = 0.2
"""Farthest from a node that belongs to it, relative to the pitch."""


@dataclass(frozen=True)
class Calibration:
    """Logistic regression from what the network thinks and what the lattice says to the chance that a target is real."""

    slope: float = 1.0
    offset: float = 0.0
    on_lattice: float = 1.5
    off_lattice: float = -3.0
    alone: float = 1.8
    """Added where there is no lattice to ask, as in close-ups of a hole or two. Not fitted: 0 for holes, by eye for squares."""
    specks: float = 0.0
    """Added to small things that show no lattice, which so many holes would. Set by eye, not fitted."""


@dataclass(frozen=True)
class Targets:
    """Targets by falling score, as arrays of equal length."""

    found: Candidates
    score: Floats
    """Chance of being real, 0-1."""
    index: NDArray[np.int64]
    """(n, 2): node of the lattice; meaningless without one or where `placed` is False."""
    placed: NDArray[np.bool_]
    """On a node of the lattice."""
    lattice: FoundLattice | None
    size: float
    """That most have; 0 when there are none."""
    solid: bool = False
    """Whether the lattice is to be trusted."""

    def __len__(self) -> int:
        return len(self.score)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> "Targets":
        """Some of them."""
        return replace(
            self,
            found=self.found.take(chosen),
            score=self.score[chosen],
            index=self.index[chosen],
            placed=self.placed[chosen],
        )


def gather_targets(
    image: torch.Tensor,
    predict: Predict,
    facts: NetworkFacts,
    calibration: Calibration,
    threshold: float,
    fill: Callable[[torch.Tensor, Targets], Targets] | None = None,
) -> Targets:
    """All targets in a picture (height, width) of finite values whose score is at least `threshold`.

    Args:
        fill: adds what the picture shows where the lattice expects it.
    """
    found = find_candidates(image, predict, facts)
    return arrange_targets(found, calibration, threshold, None if fill is None else partial(fill, image))


def arrange_targets(
    found: Candidates, calibration: Calibration, threshold: float, fill: Callable[[Targets], Targets] | None = None
) -> Targets:
    """The targets among candidates: those of the size that has most of them, above all if they lie on a lattice."""
    best, most = None, 0.0
    for size, weight in rank_sizes(found, _SIZES):
        targets = _lay_on_lattice(keep_size(found, size), size)
        small = size < _SPECK * float(max(found.x.max(), found.y.max()))
        weight *= _LATTICE_BONUS if targets.solid else _SPECK**2 if small else 1
        if best is None or weight > most:
            best, most = targets, weight
    if best is None:
        nothing = found.take(np.zeros(len(found), dtype=np.bool_))
        return Targets(nothing, nothing.heat, np.zeros((0, 2), np.int64), np.zeros(0, np.bool_), None, 0.0)
    if best.size < _SPECK * float(max(found.x.max(), found.y.max())):
        calibration = replace(calibration, alone=calibration.specks)
    best = best if fill is None else fill(best)
    score = score_targets(best, calibration)
    order = np.argsort(-score, kind="stable")
    return replace(best, score=score).take(order[score[order] >= threshold])


def settle_places(targets: Targets) -> Targets:
    """The lattice fitted again to centres that were measured, and those of its targets that lie far off put on their nodes.

    Far is three times as far as most, so that a bent lattice keeps its bends.
    """
    if not targets.solid:
        return targets
    points = np.stack([targets.found.x, targets.found.y], axis=1).astype(np.float64)
    lattice = fit_lattice(points[targets.placed], targets.score[targets.placed].astype(np.float64))
    if lattice is None:
        return targets
    index, distance = lattice.locate(points)
    usual = float(np.median(distance[targets.placed]))
    far = targets.placed & (distance > max(3 * usual, _FAR * targets.size))
    points[far] = lattice.place(index[far])
    x, y = points.astype(np.float32).T
    return replace(targets, found=replace(targets.found, x=x, y=y), index=index, lattice=lattice)


def _lay_on_lattice(found: Candidates, size: float) -> Targets:
    """The candidates with their places in the lattice, one per node."""
    sure = _place_by(found, size, found.heat > SURE_HEAT)
    if sure.solid:
        return sure
    faint = _place_by(found, size, found.heat > FAINT_HEAT)
    return faint if faint.solid else sure


def _place_by(found: Candidates, size: float, sure: NDArray[np.bool_]) -> Targets:
    """By the lattice that some of them make."""
    points = np.stack([found.x, found.y], axis=1).astype(np.float64)
    lattice = fit_lattice(points[sure], found.heat[sure].astype(np.float64))
    if lattice is None or min(np.hypot(*lattice.a), np.hypot(*lattice.b)) < 0.9 * size:
        none = np.zeros(len(found), dtype=np.bool_)
        return Targets(found, found.heat, np.zeros((len(found), 2), np.int64), none, None, size)
    index, distance = lattice.locate(points)
    placed = distance < _OFF * min(np.hypot(*lattice.a), np.hypot(*lattice.b))
    placed &= _has_neighbours(index, placed & sure)
    first = np.zeros(len(found), dtype=np.bool_)
    order = np.argsort(-(found.heat + placed), kind="stable")
    first[order[np.unique(index[order], axis=0, return_index=True)[1]]] = True
    keep = first | ~placed
    solid = bool(placed[sure].sum() >= SOLID_COUNT and placed[sure].mean() >= SOLID_SHARE)
    return Targets(found.take(keep), found.heat[keep], index[keep], placed[keep], lattice, size, solid)


def _has_neighbours(index: NDArray[np.int64], sure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether at least two sure targets, itself counted, lie within two nodes."""
    if not sure.any():
        return sure
    near = cKDTree(index[sure]).query_ball_point(index, 2.1, p=np.inf, return_length=True)
    enough: NDArray[np.bool_] = np.asarray(near) >= 2
    return enough


def score_targets(targets: Targets, calibration: Calibration) -> Floats:
    """The chance of each to be real."""
    if targets.solid:
        word = np.where(targets.placed, calibration.on_lattice, calibration.off_lattice)
    else:
        word = np.full(len(targets), calibration.alone)
    return _judge(targets.found.heat, calibration, word)


def score_alone(heat: Floats, calibration: Calibration) -> Floats:
    """The chance to be real when nothing but the network is asked."""
    return _judge(heat, calibration, np.zeros(len(heat)))


def _judge(heat: Floats, calibration: Calibration, word: Floats) -> Floats:
    heat = np.clip(heat, 1e-4, 1 - 1e-4)
    logit = calibration.slope * np.log(heat / (1 - heat)) + calibration.offset + word
    score: Floats = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return score
