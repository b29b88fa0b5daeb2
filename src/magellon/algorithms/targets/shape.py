"""Whether what was found has the shape of what was looked for: holes are round, squares have corners.

The networks take the holes of a picture for squares and the other way round, with a high score and a true lattice: how large
things are is not in the picture. The brightness along the outline tells them apart, taken over all targets together.
"""

import numpy as np
import torch

from magellon.algorithms.targets.candidates import Floats
from magellon.algorithms.targets.found import read_points
from magellon.algorithms.targets.holes import FoundHoles
from magellon.algorithms.targets.squares import FoundSquares

FEWEST, FEWEST_ROUND = 3, 5
"""Squares and holes from which a judgement is made: of few holes those beside them decide."""
LEAST_CORNERS = 0.2
"""Of squares on simulated atlases 0.25 at least, mostly 0.7-1; of holes taken for squares mostly below 0.15."""
LEAST_CONTRAST = 0.2
"""Of squares over the bars, in standard deviations of the picture: 0.4 at least on simulated atlases."""
MOST_FOURFOLD = 0.17
"""Of holes mostly below 0.1; of squares taken for holes 0.2-0.4."""


def doubt_squares(image: torch.Tensor, squares: FoundSquares) -> str | None:
    """Why these are hardly squares, or None where they may well be.

    Args:
        image: (height, width), in which they were found.
    """
    if len(squares) < FEWEST:
        return None
    near = np.linspace(-0.5, 0.5, 9)
    corner = _read_inside(image, squares, [(a * s, b * t) for a, b in _CORNER for s, t in _SIGNS])
    bars = _read_inside(
        image, squares, [(s * 1.25, t) for s in (1, -1) for t in near] + [(t, s * 1.25) for s in (1, -1) for t in near]
    )
    inside = _read_inside(image, squares, [(a, b) for a in near for b in near])
    usable = np.isfinite(corner) & np.isfinite(bars) & np.isfinite(inside) & (inside != bars)
    if usable.sum() < FEWEST:
        return None
    rise = (inside - bars)[usable]
    corners = float(np.median((corner - bars)[usable] / rise))
    spread = float(image[::4, ::4].double().std())
    if corners < LEAST_CORNERS:
        return f"{len(squares)} squares were found, but they have no corners: they look like holes"
    if float(np.median(rise)) < LEAST_CONTRAST * spread:
        return f"{len(squares)} squares were found, but hardly brighter than what is between them"
    return None


_CORNER = ((0.8, 0.8), (0.74, 0.84), (0.84, 0.74))
"""Half sides: inside of a square, outside of the circle that fills it."""
_SIGNS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


def _read_inside(image: torch.Tensor, squares: FoundSquares, points: list[tuple[float, float]]) -> Floats:
    """(n,) median value of each square at points given in its half sides; NaN where the picture shows none of them."""
    turn, half = np.radians(squares.angle)[:, None], squares.side[:, None] / 2
    u, v = (np.array(each, dtype=np.float32) * half for each in zip(*points, strict=True))
    x, y = squares.x[:, None] + u * np.cos(turn) - v * np.sin(turn), squares.y[:, None] + u * np.sin(turn) + v * np.cos(turn)
    return _take_median(*read_points(image, x, y))


def doubt_holes(image: torch.Tensor, holes: FoundHoles) -> str | None:
    """Why these are hardly holes, or None where they may well be.

    Args:
        image: (height, width), in which they were found.
    """
    turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    rings = []
    for reach in (0.6, 1.12, 1.35):
        radius = reach * holes.radius[:, None]
        rings.append(read_points(image, holes.x[:, None] + radius * np.cos(turn), holes.y[:, None] + radius * np.sin(turn)))
    (within, seen), (edge, whole), (film, shown) = rings
    inside, outside = _take_median(within, seen), _take_median(film, shown)
    usable = whole.all(axis=1) & np.isfinite(inside) & np.isfinite(outside)
    rise = float(np.abs(inside - outside)[usable].mean()) if usable.sum() >= FEWEST_ROUND else 0.0
    if rise == 0:
        return None
    fourfold = 2 * abs(complex((edge[usable].astype(np.float64) * np.exp(4j * turn)).mean())) / rise
    if fourfold > MOST_FOURFOLD:
        return f"{len(holes)} holes were found, but they have corners: they look like squares of the grid"
    return None


def _take_median(values: Floats, inside: np.ndarray) -> Floats:
    """(n,) median of the values (n, p) that lie inside; NaN where none does."""
    some = inside.any(axis=1)
    taken = np.full(len(values), np.nan)
    if some.any():
        taken[some] = np.nanmedian(np.where(inside, values, np.nan)[some].astype(np.float64), axis=1)
    return taken
