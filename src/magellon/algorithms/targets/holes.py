"""The holes of a film in a medium-magnification picture."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from magellon.algorithms.targets.candidates import Floats, NetworkFacts, Predict
from magellon.algorithms.targets.edges import refine_circles
from magellon.algorithms.targets.fill import fill_nodes
from magellon.algorithms.targets.found import (
    Found,
    move_targets,
    name_kinds,
    rank_targets,
    read_points,
    sample_spiral,
    settle_sizes,
    sort_targets,
)
from magellon.algorithms.targets.gather import Calibration, Targets, gather_targets, score_alone, settle_places
from magellon.algorithms.targets.kinds import KindModel, describe_looks
from magellon.algorithms.targets.planes import tame_values


@dataclass(frozen=True, kw_only=True)
class FoundHoles(Found):
    """Best first, as arrays of equal length; lengths in pixels."""

    radius: Floats
    ice: Floats
    """0: as bright as the brightest hole, 1: as dark as the film around."""
    index: NDArray[np.int64]
    placed: NDArray[np.bool_]
    weak: NDArray[np.bool_]
    """Only there because the lattice says so."""


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
    image = tame_values(image)
    targets = gather_targets(image, predict, facts, calibration, threshold, fill_nodes)
    return describe_holes(image, sort_holes(image, targets, model), facts.kinds, calibration, threshold)


def sort_holes(image: torch.Tensor, targets: Targets, model: KindModel | None) -> Targets:
    """The same with the kinds that the model gives."""
    if model is None:
        return targets
    return sort_targets(targets, model(look_at_holes(image, targets)))


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
    targets = settle_places(move_targets(targets, x, y, 2 * radius))
    radius = settle_sizes(targets) / 2
    bright, film = measure_brightness(image, targets, radius)
    seen = share_in_picture(targets, radius, (image.shape[0], image.shape[1]))
    order = rank_targets(targets, kinds, seen)
    targets = targets.take(order)
    kind = name_kinds(targets, kinds)
    return FoundHoles(
        x=targets.found.x,
        y=targets.found.y,
        radius=radius[order],
        score=targets.score,
        kinds=targets.found.kinds,
        kind=kind,
        brightness=bright[order],
        ice=_compare_ice(bright, film)[order],
        index=targets.index,
        placed=targets.placed,
        weak=targets.placed & (score_alone(targets.found.heat, calibration) < threshold),
        good=np.array([each == "good" for each in kind], dtype=np.bool_) & (seen[order] > 0.8),
        lattice=targets.lattice,
    )


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
