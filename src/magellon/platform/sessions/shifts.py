"""Optics groups: movies taken with the same beam shift, by the same detector, with the same optics, of the same grid.

Beam shift brings coma and a shifted phase with it, which refinement fits for each group. Shifts come in clusters: one for each
hole of a pattern, or each exposure in a hole.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

_NEAREST = 0.1
_FARTHEST = 1.0
"""Shifts nearer than the one always belong together, and those farther apart than the other never do (µm on the specimen)."""
_SAMPLE = 800
"""Shifts that are looked at to find the gap between clusters: a pattern repeats."""


@dataclass(frozen=True)
class Shifted:
    """What decides to which group a movie belongs."""

    name: str
    optics: Hashable
    """Whatever must be equal within a group: detector, pixel size, voltage, grid, ..."""
    shift: tuple[float, float] | None
    """µm on the specimen."""
    label: str | None = None
    """Position in a pattern, where the metadata say so; then the shift does not matter."""
    known: str | None = None
    """Group to which it was assigned before."""


def group_movies(movies: Sequence[Shifted], prefix: str = "") -> dict[str, str]:
    """Movie > name of its group: `PREFIX1`, `PREFIX2`, ...

    Deterministic. Movies with a known group keep it, and others join it where they lie nearer to its movies than clusters are
    apart, so that the groups of a growing session stay as they are.
    """
    groups: dict[str, str] = {}
    taken = {movie.known for movie in movies if movie.known is not None}
    number = 0
    for members in _split(movies):
        for cluster in _cluster(members):
            name = next((movie.known for movie in cluster if movie.known is not None), None)
            while name is None:
                number += 1
                if f"{prefix}{number}" not in taken:
                    name = f"{prefix}{number}"
            groups.update({movie.name: movie.known or name for movie in cluster})
    return groups


def _split(movies: Sequence[Shifted]) -> list[list[Shifted]]:
    """By what must be equal, in the order in which it first appears."""
    parts: dict[Hashable, list[Shifted]] = {}
    for movie in movies:
        parts.setdefault((movie.optics, movie.label, movie.shift is None), []).append(movie)
    return list(parts.values())


def _cluster(movies: Sequence[Shifted]) -> list[list[Shifted]]:
    """Movies by clusters of their shifts; those without one, or with a label, are together."""
    points = [movie.shift for movie in movies if movie.shift is not None]
    if len(points) < len(movies) or any(movie.label is not None for movie in movies):
        return [list(movies)]
    gap = find_gap(points)
    numbers = join_near(points, gap)
    clusters: dict[int, list[Shifted]] = {}
    for movie, number in zip(movies, numbers, strict=True):
        clusters.setdefault(number, []).append(movie)
    return list(clusters.values())


def find_gap(points: Sequence[tuple[float, float]]) -> float:
    """The distance that best tells points of one cluster from those of two.

    It lies in the widest gap, as a ratio, between lengths of the shortest tree that connects the points, and between 0.1 and
    1 µm.
    """
    sample = list(dict.fromkeys(points))[:_SAMPLE]
    inside = sorted(length for length in _connect(sample) if _NEAREST < length < _FARTHEST)
    edges = [_NEAREST, *inside, _FARTHEST]
    low, high = max(pairwise(edges), key=lambda pair: pair[1] / pair[0])
    return math.sqrt(low * high)


def _connect(points: Sequence[tuple[float, float]]) -> list[float]:
    """Lengths of the edges of the minimum spanning tree (Prim)."""
    if not points:
        return []
    left = list(points[1:])
    nearest = [math.dist(points[0], point) for point in left]
    lengths = []
    while left:
        at = min(range(len(left)), key=nearest.__getitem__)
        lengths.append(nearest[at])
        added = left[at]
        left[at], nearest[at] = left[-1], nearest[-1]
        left.pop()
        nearest.pop()
        nearest = [min(length, math.dist(added, point)) for length, point in zip(nearest, left, strict=True)]
    return lengths


def join_near(points: Sequence[tuple[float, float]], distance: float) -> list[int]:
    """A number for each point, the same for points that a chain of steps of at most about `distance` connects.

    Numbered by first appearance. Points are put on a grid of an eighth of the distance first, so that thousands in one place
    cost no more than one.
    """
    step = distance / 8
    cells = {cell: index for index, cell in enumerate(dict.fromkeys(_cell(point, step) for point in points))}
    parents = list(range(len(cells)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    reach = [(dx, dy) for dx in range(-8, 9) for dy in range(-8, 9) if (dx, dy) > (0, 0) and math.hypot(dx, dy) <= 8]
    for (x, y), index in cells.items():
        for dx, dy in reach:
            other = cells.get((x + dx, y + dy))
            if other is not None:
                first, second = sorted((root(index), root(other)))
                parents[second] = first
    return [root(cells[_cell(point, step)]) for point in points]


def _cell(point: tuple[float, float], step: float) -> tuple[int, int]:
    return math.floor(point[0] / step), math.floor(point[1] / step)


def count_groups(groups: Mapping[str, str]) -> dict[str, int]:
    """Group > number of movies, by group."""
    counts: dict[str, int] = {}
    for group in groups.values():
        counts[group] = counts.get(group, 0) + 1
    return counts
