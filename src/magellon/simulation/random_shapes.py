"""Proteins that nobody has seen, as clouds of points: enough of them that a network cannot learn any by heart.

Coarser than the phantoms: domains, symmetry, holes and texture down to about a twelfth of the particle, for pictures in which a
particle is a few ten pixels wide. A cloud is drawn in milliseconds, so that every picture can show another protein.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from magellon.simulation.phantoms import build_phantom, phantom_names
from magellon.simulation.symmetry import symmetry_operators

Array = NDArray[np.float64]
POINTS = 600
"""No more make up a shape."""


@dataclass(frozen=True)
class Shape:
    """Points (n, 3), (x, y, z), about their centre of mass, the farthest at 0.5; weights (n,) add up to 1."""

    family: str
    points: NDArray[np.float32]
    weights: NDArray[np.float32]


def draw_shape(rng: np.random.Generator, family: str | None = None) -> Shape:
    """A new shape, of a family drawn at random unless it is said."""
    name = family if family is not None else str(rng.choice(list(FAMILIES), p=[share for share, _ in FAMILIES.values()]))
    points, weights = FAMILIES[name][1](rng)
    weights = weights * _texture(points, rng)
    points = points - np.average(points, axis=0, weights=weights)
    reach = np.linalg.norm(points, axis=1).max()
    if len(points) > POINTS:
        chosen = rng.choice(len(points), POINTS, replace=False)
        points, weights = points[chosen], weights[chosen]
    return Shape(name, (points / (2 * reach)).astype(np.float32), (weights / weights.sum()).astype(np.float32))


def random_rotations(rng: np.random.Generator, count: int) -> Array:
    """(count, 3, 3), uniform over all rotations."""
    quaternions = rng.normal(size=(count, 4))
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _ball(rng: np.random.Generator, count: int) -> Array:
    """Points evenly in the unit ball."""
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return np.asarray(directions * rng.random((count, 1)) ** (1 / 3))


def _ellipsoid(rng: np.random.Generator, centre: Array, semi_axes: Array, share: float, total: int) -> tuple[Array, Array]:
    """An evenly filled ellipsoid in a random direction, and how dense it is."""
    count = max(12, round(share * total))
    turned = (_ball(rng, count) * semi_axes) @ random_rotations(rng, 1)[0]
    density = rng.uniform(0.75, 1.3)
    return turned + centre, np.full(count, density * share / count)


def _texture(points: Array, rng: np.random.Generator) -> Array:
    """Weights that make domains lumpy: the nearest of some centres decides."""
    lumps = points[rng.choice(len(points), min(len(points), int(rng.integers(20, 120))), replace=False)]
    factors = np.exp(rng.normal(0, rng.uniform(0.1, 0.8), len(lumps)))
    return np.asarray(factors[cKDTree(lumps).query(points)[1]])


def _chain(rng: np.random.Generator, domains: int, spread: float) -> tuple[Array, Array]:
    """Domains, each laid against one of those before it; `spread` 0 keeps them together, 1 makes them a chain."""
    sizes = rng.uniform(0.5, 1.0, domains) if domains > 1 else np.ones(1)
    centres = [np.zeros(3)]
    for number in range(1, domains):
        parent = number - 1 if rng.random() < spread else int(rng.integers(number))
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        centres.append(centres[parent] + direction * (sizes[parent] + sizes[number]) * rng.uniform(0.55, 0.95))
    shares = sizes**3 / (sizes**3).sum()
    parts = [
        _ellipsoid(rng, centre, size * rng.uniform(0.7, 1.3, 3), float(share), POINTS)
        for centre, size, share in zip(centres, sizes, shares, strict=True)
    ]
    return _join(parts)


def _join(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    return np.concatenate([points for points, _ in parts]), np.concatenate([weights for _, weights in parts])


def _globular(rng: np.random.Generator) -> tuple[Array, Array]:
    return _chain(rng, int(rng.integers(1, 9)), 0.0)


def _branched(rng: np.random.Generator) -> tuple[Array, Array]:
    return _chain(rng, int(rng.integers(3, 7)), 0.7)


def _repeat(unit: tuple[Array, Array], group: str) -> tuple[Array, Array]:
    """A unit with its symmetry, thinned to the usual number of points."""
    operators = symmetry_operators(group)
    points, weights = unit
    kept = slice(None, None, max(1, len(points) * len(operators) // (2 * POINTS)))
    return np.concatenate([points[kept] @ operator.T for operator in operators]), np.tile(weights[kept], len(operators))


def _assembly(rng: np.random.Generator) -> tuple[Array, Array]:
    """Copies of one protein about axes."""
    groups = ["C2", "C3", "C4", "C5", "C6", "D2", "D3", "D4", "D5", "D6", "D7", "T", "O"]
    points, weights = _chain(rng, int(rng.integers(1, 5)), 0.3)
    direction = rng.normal(size=3)
    away = direction / np.linalg.norm(direction) * np.ptp(points, axis=0).mean() * rng.uniform(0.3, 0.8)
    return _repeat((points + away, weights), str(rng.choice(groups)))


def _ring(rng: np.random.Generator) -> tuple[Array, Array]:
    """One to four stacked rings with a hole: portals, channels, barrels, proteasomes."""
    order = int(rng.integers(5, 15))
    radius, height = 1.0, rng.uniform(0.2, 0.7)
    size = math.pi * radius / order * rng.uniform(0.9, 1.5)
    parts = []
    stack = int(rng.integers(1, 5))
    for level in range(stack):
        shift, wide = rng.uniform(0, 0.4), rng.uniform(0.8, 1.1)
        points, weights = _ellipsoid(rng, np.zeros(3), np.array([size, size, height * 0.7]), 1.0, 2 * POINTS // (order * stack))
        where = np.array([radius * wide * math.cos(shift), radius * wide * math.sin(shift), level * height * 1.2])
        parts.append(_repeat((points + where, weights), f"C{order}"))
    return _join(parts)


def _rod(rng: np.random.Generator) -> tuple[Array, Array]:
    """Two to five times as long as wide, bent a little."""
    aspect, domains = rng.uniform(2, 5), int(rng.integers(2, 7))
    bend = rng.uniform(0, 0.5)
    parts = []
    for number in range(domains):
        along = (number + 0.5) / domains * 2 - 1
        centre = np.array([bend * along**2, rng.normal(0, 0.1) / aspect, along])
        axes = np.array([1 / aspect, 1 / aspect, 1.2 / domains]) * rng.uniform(0.8, 1.25, 3)
        count = max(20, POINTS // domains)
        parts.append((_ball(rng, count) * axes + centre, np.full(count, axes.prod() * rng.uniform(0.8, 1.2) / count)))
    return _join(parts)


def _shell(rng: np.random.Generator) -> tuple[Array, Array]:
    """Viruses and cages: a wall, bumps in symmetry, facets, and more or less inside."""
    count = int(1.5 * POINTS)
    directions = rng.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    wall = rng.uniform(0.08, 0.45)
    radius = 1 - wall * (1 - rng.random(count))
    faces = random_rotations(rng, 1)[0] @ _icosahedron().T
    facing = (directions @ faces).max(axis=1)
    radius *= 1 + rng.uniform(0, 0.8) * (0.8 / np.maximum(facing, 0.79) - 1)
    bumps = rng.uniform(0, 0.9) * (np.cos(int(rng.integers(5, 12)) * np.arccos(np.clip(facing, -1, 1))) ** 2 - 0.5)
    parts = [(directions * radius[:, None], np.clip(1 + bumps, 0.05, None) / count)]
    inside = rng.uniform(0, 0.9) if rng.random() < 0.5 else 0.0
    if inside > 0:
        core = _ball(rng, POINTS) * (1 - wall)
        share = inside * (1 - wall) ** 3 / max(1 - (1 - wall) ** 3, 0.05)
        parts.append((core, np.full(POINTS, share / POINTS)))
    return _join(parts)


def _icosahedron() -> Array:
    """Directions of its 12 corners."""
    golden = (1 + math.sqrt(5)) / 2
    corners = [(0, a, b * golden) for a in (-1, 1) for b in (-1, 1)]
    every = np.array([np.roll(corner, turn) for corner in corners for turn in range(3)], dtype=np.float64)
    return np.asarray(every / np.linalg.norm(every, axis=1, keepdims=True))


def _membrane(rng: np.random.Generator) -> tuple[Array, Array]:
    """A membrane protein in its micelle or nanodisc: a faint belt with a denser rim, domains through and beside it."""
    wide, thick = 1.0, rng.uniform(0.35, 0.6)
    belt = _ball(rng, POINTS // 2) * np.array([wide, wide, thick])
    at_rim = (np.linalg.norm(belt / np.array([wide, wide, thick]), axis=1) > 0.75).astype(np.float64)
    faint = rng.uniform(0.15, 0.7)
    volume = wide * wide * thick
    points, weights = _repeat(_chain(rng, int(rng.integers(1, 4)), 0.4), f"C{int(rng.integers(1, 6))}")
    size = rng.uniform(0.5, 0.9) / max(float(np.abs(points[:, :2]).max()), 1e-6)
    points = points * size * np.array([1, 1, rng.uniform(1, 1.8)]) + np.array([0, 0, rng.uniform(0, 0.9)])
    protein = weights / weights.sum() * rng.uniform(0.2, 0.9)
    return _join([(belt, volume * (faint + 0.6 * at_rim) / len(belt)), (points, protein)])


def _phantom(rng: np.random.Generator) -> tuple[Array, Array]:
    model = build_phantom(str(rng.choice(phantom_names())))
    chosen = rng.choice(len(model.positions), 2 * POINTS, replace=False)
    return model.positions[chosen].astype(np.float64), np.full(2 * POINTS, 1 / (2 * POINTS))


FAMILIES: dict[str, tuple[float, Callable[[np.random.Generator], tuple[Array, Array]]]] = {
    "globular": (0.26, _globular),
    "assembly": (0.2, _assembly),
    "ring": (0.1, _ring),
    "rod": (0.08, _rod),
    "shell": (0.12, _shell),
    "membrane": (0.1, _membrane),
    "branched": (0.08, _branched),
    "phantom": (0.06, _phantom),
}
"""Name > how often, and how it is drawn."""
