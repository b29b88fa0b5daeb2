"""What a square of the grid looks like inside: film, ice, tears, cracks, dirt."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magellon.simulation.grids.textures import draw_field
from magellon.simulation.grids.truth import SQUARE_KINDS, Floats

GOOD, EMPTY, BROKEN, CRACKED, THICK, CONTAMINATED = range(len(SQUARE_KINDS))


@dataclass(frozen=True)
class SquareParts:
    """Of each node of the lattice."""

    kind: NDArray[np.int64]
    ice: Floats
    """Optical depth in the middle."""
    bowl: Floats
    """How much thicker ice is at the bars than in the middle."""
    absent: NDArray[np.bool_]
    """Closed by metal: no square at all."""


def choose_kinds(rng: np.random.Generator, shares: tuple[float, ...], where: Floats, ice: tuple[float, float]) -> SquareParts:
    """Kinds and ice of the squares at `where` (n, 2; in units of the picture); `ice` is its mean and its spread."""
    count = len(where)
    kind = rng.choice(len(shares), size=count, p=np.asarray(shares) / sum(shares))
    slow = draw_field(rng, (32, 32), 10)
    place = np.clip(where * 31, 0, 31).astype(int)
    depth = ice[0] * np.exp(ice[1] * slow[place[:, 1], place[:, 0]] + 0.1 * rng.standard_normal(count))
    depth = np.clip(depth, 0.06, 0.7)
    bowl = rng.uniform(0, 0.6, count)
    thick = kind == THICK
    depth[thick] = np.maximum(depth[thick] + 0.7, 0.9) + rng.uniform(0, 1.2, int(thick.sum()))
    bowl[thick] = rng.uniform(0, 2.5, int(thick.sum()))
    depth[kind == EMPTY] = 0
    absent = rng.random(count) < (0.05 if rng.random() < 0.15 else 0)
    return SquareParts(kind, depth.astype(np.float32), bowl.astype(np.float32), absent)


def draw_insides(
    rng: np.random.Generator,
    parts: SquareParts,
    index: NDArray[np.int64],
    local: tuple[Floats, Floats],
    film_and_side: tuple[float, float],
) -> Floats:
    """Optical depth at each pixel as if there were no bars.

    Args:
        index: (height, width) the node of each pixel.
        local: (u, v) from the middle of its square, in half sides.
        film_and_side: optical depth of the film; side of a square in pixels.
    """
    (u, v), (film, side) = local, film_and_side
    kind, shape = parts.kind[index], u.shape
    out = np.maximum(np.abs(u), np.abs(v)) ** 2
    ice = parts.ice[index] * (1 + parts.bowl[index] * (out - 0.3))
    uneven = 1 + 0.12 * draw_field(rng, shape, max(side * 0.4, 2)) + 0.05 * draw_field(rng, shape, 2)
    depth = np.maximum(ice, 0) * uneven + film * (1 - 0.6 * (kind == EMPTY) * rng.random(len(parts.kind))[index])
    depth = np.where(parts.absent[index], 6.0, depth)
    if np.any(parts.kind == BROKEN):
        depth = np.where(kind == BROKEN, _tear(rng, depth, index, len(parts.kind), side), depth)
    if np.any(parts.kind == CRACKED):
        depth = np.where(kind == CRACKED, _crack(rng, depth, index, local, side), depth)
    if np.any(parts.kind == CONTAMINATED):
        depth = depth + np.where(kind == CONTAMINATED, _dirt(rng, index, len(parts.kind), side, shape), 0)
    result: Floats = depth.astype(np.float32)
    return result


def _tear(rng: np.random.Generator, depth: Floats, index: NDArray[np.int64], count: int, side: float) -> Floats:
    """Film gone where a random field is high, rolled up dark along the tear."""
    rough = draw_field(rng, depth.shape, max(side * rng.uniform(0.25, 0.6), 2)) + 0.15 * draw_field(
        rng, depth.shape, max(side * 0.08, 1.5)
    )
    over = rough - rng.uniform(-0.7, 0.6, count).astype(np.float32)[index]
    gone = 1 / (1 + np.exp(-np.clip(over * np.float32(0.25 * side), -30, 30)))
    rolled = np.exp(-((over * np.float32(rng.uniform(3, 8))) ** 2)) * np.float32(rng.uniform(0, 1.2))
    torn: Floats = depth * (1 - gone) + rolled * (over < 0.1)
    return torn


def _crack(
    rng: np.random.Generator, depth: Floats, index: NDArray[np.int64], local: tuple[Floats, Floats], side: float
) -> Floats:
    """One to three bent gaps across the square."""
    (u, v), count = local, int(index.max()) + 1
    gap, edge = np.zeros_like(depth), np.zeros_like(depth)
    for number in range(3):
        turn = rng.uniform(0, math.pi, count).astype(np.float32)[index]
        offset = rng.uniform(-0.55, 0.55, count).astype(np.float32)[index]
        bend, wave = (rng.normal(0, 0.25, count).astype(np.float32)[index] for _ in range(2))
        along, across = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
        distance = np.abs(across - offset - bend * along**2 - 0.2 * wave * np.sin(5 * along)) * np.float32(side / 2)
        width = np.maximum(rng.uniform(0.02, 0.07, count) * side / 2, 0.6).astype(np.float32)[index]
        drawn = 1 if number == 0 else (rng.random(count) < 0.4)[index]
        gap = np.maximum(gap, drawn / (1 + np.exp(np.clip((distance - width) * 2, -30, 30))))
        edge = np.maximum(edge, drawn * np.exp(-(((distance - 1.8 * width) / width) ** 2)))
    cracked: Floats = depth * (1 - gap) + np.float32(rng.uniform(0, 0.8)) * edge * (1 - gap)
    return cracked


def _dirt(rng: np.random.Generator, index: NDArray[np.int64], count: int, side: float, shape: tuple[int, ...]) -> Floats:
    """Dark crystals over a fifth to most of the square."""
    size = (shape[0], shape[1])
    rough = draw_field(rng, size, max(side * rng.uniform(0.06, 0.25), 1.5)) + 0.4 * draw_field(rng, size, max(side * 0.05, 1.2))
    over = rough - rng.uniform(0.1, 1.0, count).astype(np.float32)[index]
    dirt: Floats = np.float32(rng.uniform(0.8, 3)) / (1 + np.exp(-np.clip(over * np.float32(max(0.3 * side, 4)), -30, 30)))
    return dirt
