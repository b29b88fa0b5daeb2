"""The holes of a film in a medium-magnification picture."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from magellon.algorithms.targets.candidates import Floats, NetworkFacts, Predict
from magellon.algorithms.targets.edges import refine_circles
from magellon.algorithms.targets.gather import Calibration, Targets, gather_targets, settle_places
from magellon.algorithms.targets.kinds import KindModel, describe_looks
from magellon.algorithms.targets.lattice import FoundLattice

SAME_SIZE = 0.12
"""Holes whose measured radius differs from the usual by less have the usual one."""


@dataclass(frozen=True)
class FoundHoles:
    """Best first, as arrays of equal length; lengths in pixels."""

    x: Floats
    y: Floats
    radius: Floats
    score: Floats
    """Chance of being a hole, 0-1."""
    kinds: Floats
    """(n, kinds): shares of 1, in the order of the network's kinds."""
    kind: tuple[str, ...]
    brightness: Floats
    """Mean value inside."""
    ice: Floats
    """0: as bright as the brightest hole, 1: as dark as the film around."""
    index: NDArray[np.int64]
    placed: NDArray[np.bool_]
    weak: NDArray[np.bool_]
    """Only there because the lattice says so."""
    good: NDArray[np.bool_]
    """Worth going to."""
    lattice: FoundLattice | None

    def __len__(self) -> int:
        return len(self.x)


def find_holes(
    image: torch.Tensor,
    predict: Predict,
    facts: NetworkFacts,
    calibration: Calibration,
    threshold: float = 0.5,
    model: KindModel | None = None,
) -> FoundHoles:
    """All holes of a picture (height, width) of finite values whose score is at least `threshold`.

    Args:
        predict: the network that `facts` describes.
        model: tells kinds better than the network alone.
    """
    targets = gather_targets(image, predict, facts, calibration, threshold)
    return describe_holes(image, sort_holes(image, targets, model), facts.kinds, calibration, threshold)


def sort_holes(image: torch.Tensor, targets: Targets, model: KindModel | None) -> Targets:
    """The same with the kinds that the model gives."""
    if model is None:
        return targets
    return replace(targets, found=replace(targets.found, kinds=model(look_at_holes(image, targets))))


def look_at_holes(image: torch.Tensor, targets: Targets) -> Floats:
    """What each of them looks like, for a `KindModel`."""
    radius = (settle_sizes(targets) / 2)[:, None]
    across, down = sample_spiral(160)
    turn = np.linspace(0, 2 * math.pi, 48, endpoint=False)
    x, y = targets.found.x[:, None], targets.found.y[:, None]
    inside = np.stack([x + 0.8 * radius * across, y + 0.8 * radius * down], axis=-1)
    around = np.stack([x + 1.35 * radius * np.cos(turn), y + 1.35 * radius * np.sin(turn)], axis=-1)
    return describe_looks(image, inside, around, targets.size, targets.found.kinds)


def describe_holes(
    image: torch.Tensor, targets: Targets, kinds: tuple[str, ...], calibration: Calibration, threshold: float
) -> FoundHoles:
    """Measure targets that are holes, and rank them."""
    x, y, radius = refine_circles(image, targets.found.x, targets.found.y, settle_sizes(targets) / 2)
    targets = settle_places(replace(targets, found=replace(targets.found, x=x, y=y, size=2 * radius)))
    radius = settle_sizes(targets) / 2
    bright, film = measure_brightness(image, targets, radius)
    good_share = targets.found.kinds[:, kinds.index("good")]
    seen = share_in_picture(targets, radius, (image.shape[0], image.shape[1]))
    order = np.argsort(-(targets.score * good_share * seen), kind="stable")
    targets = targets.take(order)
    kind = tuple(kinds[int(each)] for each in targets.found.kinds.argmax(axis=1))
    lone = Calibration(calibration.slope, calibration.offset, 0, 0)
    heat = np.clip(targets.found.heat, 1e-4, 1 - 1e-4)
    alone = 1 / (1 + np.exp(-(lone.slope * np.log(heat / (1 - heat)) + lone.offset)))
    return FoundHoles(
        targets.found.x,
        targets.found.y,
        radius[order],
        targets.score,
        targets.found.kinds,
        kind,
        bright[order],
        _compare_ice(bright, film)[order],
        targets.index,
        targets.placed,
        targets.placed & (alone < threshold),
        np.array([each == "good" for each in kind], dtype=np.bool_) & (seen[order] > 0.8),
        targets.lattice,
    )


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


def measure_brightness(image: torch.Tensor, targets: Targets, radius: Floats) -> tuple[Floats, Floats]:
    """Mean value inside each hole, and median value of the film around it."""
    across, down = sample_spiral(200)
    x, y = targets.found.x[:, None], targets.found.y[:, None]
    values, inside = read_points(image, x + 0.7 * radius[:, None] * across, y + 0.7 * radius[:, None] * down)
    bright = (values * inside).sum(1) / np.maximum(inside.sum(1), 1)
    turn = np.linspace(0, 2 * math.pi, 64, endpoint=False, dtype=np.float32)
    ring, _ = read_points(image, x + 1.35 * radius[:, None] * np.cos(turn), y + 1.35 * radius[:, None] * np.sin(turn))
    film = np.median(ring, axis=1) if len(ring) else np.zeros(0)
    return bright.astype(np.float32), film.astype(np.float32)


def _compare_ice(bright: Floats, film: Floats) -> Floats:
    if len(bright) == 0:
        return bright
    top = np.percentile(bright, 98)
    ice: Floats = np.clip((top - bright) / np.maximum(top - film, 1e-6 * max(abs(float(top)), 1e-20)), 0, 2).astype(np.float32)
    return ice


def share_in_picture(targets: Targets, radius: Floats, shape: tuple[int, int]) -> Floats:
    """How much of each hole the picture shows, 0-1."""
    across, down = sample_spiral(64)
    x = targets.found.x[:, None] + radius[:, None] * across
    y = targets.found.y[:, None] + radius[:, None] * down
    inside = (x > -0.5) & (y > -0.5) & (x < shape[1] - 0.5) & (y < shape[0] - 0.5)
    share: Floats = inside.mean(axis=1).astype(np.float32) if len(x) else np.zeros(0, np.float32)
    return share
