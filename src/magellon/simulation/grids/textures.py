"""What lies about on a grid: uneven ice, crystals, dendrites, filaments, and random fields to make them of."""

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from magellon.simulation.grids.truth import Floats

Shape = tuple[int, int]


def draw_field(rng: np.random.Generator, shape: Shape, scale: float) -> Floats:
    """Smooth noise of zero mean and unit variance that changes over about `scale` pixels: cubic splines of random heights."""
    rows, columns = (_spline_weights(side, scale) for side in shape)
    heights = rng.standard_normal((rows.shape[1], columns.shape[1]), dtype=np.float32)
    field: Floats = rows @ heights @ columns.T
    return field


def _spline_weights(side: int, scale: float) -> Floats:
    """(side, knots) values of cubic B-splines `scale` apart, of unit sum of squares in each row."""
    knots = np.arange(math.ceil((side - 1) / scale) + 4, dtype=np.float32)
    distance = np.abs(np.arange(side, dtype=np.float32)[:, None] / np.float32(scale) + 1 - knots)
    near, far = 2 / 3 - distance**2 + distance**3 / 2, np.clip(2 - distance, 0, 2) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    normed: Floats = weights / np.sqrt((weights**2).sum(axis=1, keepdims=True))
    return normed


def draw_clusters(rng: np.random.Generator, shape: Shape, count: int, size: float) -> Floats:
    """Density of `count` clusters of round crystals, each crystal about `size` pixels across: 0 outside, about 1 inside."""
    density = np.zeros(shape, dtype=np.float32)
    for _ in range(count):
        x, y = rng.uniform(0, shape[1]), rng.uniform(0, shape[0])
        for _ in range(int(rng.geometric(0.35))):
            _add_disc(density, x, y, size * rng.uniform(0.3, 0.8))
            x, y = x + rng.normal(0, 0.7 * size), y + rng.normal(0, 0.7 * size)
    return density


def _add_disc(density: Floats, x: float, y: float, radius: float) -> None:
    reach = math.ceil(radius + 2)
    left, top = max(int(x) - reach, 0), max(int(y) - reach, 0)
    patch = density[top : int(y) + reach + 1, left : int(x) + reach + 1]
    if patch.size == 0:
        return
    rows = np.arange(top, top + patch.shape[0], dtype=np.float32)[:, None]
    columns = np.arange(left, left + patch.shape[1], dtype=np.float32)[None]
    distance = np.sqrt((rows - y) ** 2 + (columns - x) ** 2)
    np.maximum(patch, np.clip(radius - distance + 0.5, 0, 1), out=patch)


def draw_rods(rng: np.random.Generator, shape: Shape, count: int, length: float, width: float) -> Floats:
    """Density of straight rods: needle crystals, bits of wire."""
    density = np.zeros(shape, dtype=np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    for _ in range(count):
        turn = rng.uniform(0, math.pi)
        dx, dy = x - rng.uniform(0, shape[1]), y - rng.uniform(0, shape[0])
        along, across = dx * math.cos(turn) + dy * math.sin(turn), dy * math.cos(turn) - dx * math.sin(turn)
        outside = np.maximum(np.abs(along) - rng.uniform(0.3, 1) * length / 2, np.abs(across) - rng.uniform(0.5, 1) * width / 2)
        np.maximum(density, np.clip(0.5 - outside, 0, 1), out=density)
    return density


def draw_walks(rng: np.random.Generator, shape: Shape, count: int, length: float, width: float) -> Floats:
    """Density of winding lines: filaments, worm-like debris, dendrites when many start together."""
    steps = max(int(length / max(width * 0.5, 0.5)), 4)
    start = rng.uniform(0, 1, (count, 2)) * np.array([shape[1], shape[0]])
    turn = rng.uniform(0, 2 * math.pi, (count, 1)) + np.cumsum(rng.normal(0, 0.35, (count, steps)), axis=1)
    points = start[:, None] + np.cumsum(0.5 * width * np.stack([np.cos(turn), np.sin(turn)], axis=-1), axis=1)
    x, y = np.rint(points.reshape(-1, 2)).astype(np.int64).T
    inside = (x >= 0) & (y >= 0) & (x < shape[1]) & (y < shape[0])
    hits = np.bincount(y[inside] * shape[1] + x[inside], minlength=shape[0] * shape[1]).reshape(shape)
    line: Floats = gaussian_filter(np.minimum(hits, 1).astype(np.float32), max(width * 0.4, 0.5))
    density: Floats = np.clip(line * np.float32(2.5 * max(width * 0.4, 0.5)), 0, 1)
    return density
