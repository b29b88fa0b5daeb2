"""The squares of a grid in a low-magnification picture."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from magellon.algorithms.targets.candidates import Floats, NetworkFacts, Predict
from magellon.algorithms.targets.edges import measure_angle, refine_squares
from magellon.algorithms.targets.found import (
    Found,
    move_targets,
    name_kinds,
    rank_targets,
    read_points,
    settle_sizes,
    sort_targets,
)
from magellon.algorithms.targets.gather import Calibration, Targets, gather_targets, settle_places
from magellon.algorithms.targets.kinds import KindModel, describe_looks
from magellon.algorithms.targets.planes import tame_values

LEAST_PLACED = 6
"""Squares on a lattice that make its angle theirs."""
LEAST_SURENESS = 0.1
"""Of an angle measured on edges."""


@dataclass(frozen=True, kw_only=True)
class FoundSquares(Found):
    """Best first, as arrays of equal length; lengths in pixels."""

    side: Floats
    angle: Floats
    """Degrees from +x toward +y, in [-45, 45)."""
    corners: Floats
    """(n, 4, 2): x, y, going round; partly outside for a square that the picture cuts."""
    area: Floats
    """px², of the part in the picture."""


def find_squares(
    image: torch.Tensor,
    predict: Predict,
    facts: NetworkFacts,
    calibration: Calibration,
    threshold: float = 0.5,
    model: KindModel | None = None,
) -> FoundSquares:
    """All squares of a picture (height, width) of finite values whose score is at least `threshold`.

    Args:
        predict: the network that `facts` describes.
        model: tells kinds better than the network alone.
    """
    image = tame_values(image)
    targets = gather_targets(image, predict, facts, calibration, threshold)
    if model is not None:
        targets = sort_targets(targets, model(look_at_squares(image, targets)))
    angle = settle_angles(image, targets)
    targets = settle_places(
        move_targets(targets, *refine_squares(image, targets.found.x, targets.found.y, settle_sizes(targets), angle))
    )
    side, angle = settle_sizes(targets), settle_angles(image, targets)
    bright, share = _measure(image, targets, side, angle)
    order = rank_targets(targets, facts.kinds, share)
    targets = targets.take(order)
    side, angle, share = side[order], angle[order], share[order]
    kind = name_kinds(targets, facts.kinds)
    return FoundSquares(
        x=targets.found.x,
        y=targets.found.y,
        side=side,
        angle=angle,
        corners=place_points(targets, side, angle, np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float32)),
        area=(side**2 * share).astype(np.float32),
        score=targets.score,
        kinds=targets.found.kinds,
        kind=kind,
        brightness=bright[order],
        good=np.array([each == "good" for each in kind], dtype=np.bool_) & (share > 0.6),
        lattice=targets.lattice,
    )


def look_at_squares(image: torch.Tensor, targets: Targets) -> Floats:
    """What each of them looks like, for a `KindModel`."""
    angle, side = settle_angles(image, targets), settle_sizes(targets)
    line = np.linspace(-0.82, 0.82, 18)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    grid = grid[np.argsort(np.abs(grid).max(axis=1), kind="stable")]
    edge = np.linspace(-0.8, 0.8, 12)
    rim = np.concatenate([np.stack(pair, axis=-1) for pair in ((edge, 0 * edge + 1.2), (0 * edge + 1.2, edge))])
    inside = place_points(targets, side, angle, grid)
    around = place_points(targets, side, angle, np.concatenate([rim, -rim]))
    return describe_looks(image, inside, around, targets.size, targets.found.kinds)


def settle_angles(image: torch.Tensor, targets: Targets) -> Floats:
    """The angle of all squares, in [-45, 45): that of their lattice, or of their edges; the network's where edges have none."""
    if len(targets) == 0:
        return targets.found.angle
    if targets.lattice is not None and targets.placed.sum() >= LEAST_PLACED:
        usual = targets.lattice.angle
    else:
        usual, sureness = measure_angle(image, targets.found.x, targets.found.y, targets.found.size)
        if sureness < LEAST_SURENESS:
            turned = np.radians(4 * targets.found.angle.astype(np.float64))
            usual = math.degrees(math.atan2(float(targets.score @ np.sin(turned)), float(targets.score @ np.cos(turned)))) / 4
    return np.full(len(targets), (usual + 45) % 90 - 45, dtype=np.float32)


def place_points(targets: Targets, side: Floats, angle: Floats, points: Floats) -> Floats:
    """(n, p, 2) positions x, y of points (p, 2) given in half sides of each square."""
    turn = np.radians(angle)[:, None]
    half = side[:, None] / 2
    u, v = points[:, 0] * half, points[:, 1] * half
    x = targets.found.x[:, None] + u * np.cos(turn) - v * np.sin(turn)
    y = targets.found.y[:, None] + u * np.sin(turn) + v * np.cos(turn)
    placed: Floats = np.stack([x, y], axis=-1).astype(np.float32)
    return placed


def _measure(image: torch.Tensor, targets: Targets, side: Floats, angle: Floats) -> tuple[Floats, Floats]:
    """Mean value inside each square, and how much of it the picture shows."""
    line = np.linspace(-0.95, 0.95, 20, dtype=np.float32)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    points = place_points(targets, side, angle, grid)
    values, inside = read_points(image, points[..., 0], points[..., 1])
    core = inside & (np.abs(grid).max(axis=1) < 0.8)
    bright = (values * core).sum(1) / np.maximum(core.sum(1), 1)
    return bright.astype(np.float32), (inside.sum(1) / len(grid)).astype(np.float32)
