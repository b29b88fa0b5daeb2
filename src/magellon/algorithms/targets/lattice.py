"""The lattice on which squares and holes lie: found from the centres alone, whatever its pitch, angle and symmetry."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components
from scipy.spatial import cKDTree

Doubles = NDArray[np.float64]
LEAST_POINTS = 5
_NEIGHBOURS = 8
_MOST_STEPS = 2000
"""From which the vectors are chosen: all pairs of them are compared."""
_TOLERANCE = 0.15
"""Of a step between neighbours, relative to its length."""


@dataclass(frozen=True)
class FoundLattice:
    """Nodes at `origin` + i `a` + j `b`, in pixels (x, y)."""

    origin: Doubles
    a: Doubles
    """The lattice vector nearest to +x."""
    b: Doubles

    @property
    def angle(self) -> float:
        """Of `a`, degrees from +x toward +y."""
        return math.degrees(math.atan2(self.a[1], self.a[0]))

    @property
    def pitch(self) -> float:
        """Mean length of the two vectors."""
        return float((np.hypot(*self.a) + np.hypot(*self.b)) / 2)

    def place(self, index: NDArray[np.int64]) -> Doubles:
        """(n, 2) nodes to (n, 2) points."""
        points: Doubles = self.origin + index @ np.stack([self.a, self.b])
        return points

    def locate(self, points: Doubles) -> tuple[NDArray[np.int64], Doubles]:
        """(n, 2) points to their nearest nodes and the distances from them."""
        fractions = (points - self.origin) @ np.linalg.inv(np.stack([self.a, self.b]))
        index = np.rint(fractions).astype(np.int64)
        return index, np.hypot(*(points - self.place(index)).T)


def fit_lattice(points: Doubles, weights: Doubles) -> FoundLattice | None:
    """The lattice that most of the points (n, 2) lie on; None when fewer than half of them lie on any."""
    if len(points) < LEAST_POINTS:
        return None
    best = np.argsort(-weights, kind="stable")[:2000]
    points = points[best]
    steps, pairs = _find_steps(points)
    vectors = _choose_vectors(steps)
    if vectors is None:
        return None
    index, member = _number_points(points, steps, pairs, vectors)
    if member.sum() < max(LEAST_POINTS, 0.4 * len(points)):
        return None
    lattice = _solve(points[member], index[member])
    for _ in range(3):
        if lattice is None:
            return None
        index, distance = lattice.locate(points)
        member = distance < 0.2 * min(np.hypot(*lattice.a), np.hypot(*lattice.b))
        if member.sum() < max(LEAST_POINTS, 0.5 * len(points)):
            return None
        lattice = _solve(points[member], index[member])
    return None if lattice is None else _turn(lattice)


def _find_steps(points: Doubles) -> tuple[Doubles, NDArray[np.int64]]:
    """Steps from each point to its neighbours, and who they lead from and to."""
    count = min(_NEIGHBOURS, len(points) - 1)
    near = np.asarray(cKDTree(points).query(points, count + 1)[1])
    start = np.repeat(np.arange(len(points)), count)
    end = near[:, 1:].ravel()
    return points[end] - points[start], np.stack([start, end])


def _choose_vectors(steps: Doubles) -> tuple[Doubles, Doubles] | None:
    """Two short steps in different directions that many neighbours are apart."""
    steps = steps[:: len(steps) // _MOST_STEPS | 1]  # odd, so that all of the eight neighbours are among them
    both = np.concatenate([steps, -steps])
    length = np.hypot(both[:, 0], both[:, 1])
    tree = cKDTree(both)
    usual = float(np.median(length))
    support = np.asarray(tree.query_ball_point(both, _TOLERANCE * np.minimum(length, usual), return_length=True))
    often = support >= 0.4 * support.max()
    first = _average(both, int(np.flatnonzero(often)[np.argmin(length[often])]))
    across = np.abs(both @ np.array([-first[1], first[0]])) / (length * np.hypot(*first) + 1e-12)
    often = (across > 0.5) & (support >= 0.25 * support.max())
    if not often.any():
        return None
    second = _average(both, int(np.flatnonzero(often)[np.argmin(length[often])]))
    return _reduce(first, second)


def _average(steps: Doubles, seed: int) -> Doubles:
    """The mean of the steps close to one."""
    close = np.hypot(*(steps - steps[seed]).T) < _TOLERANCE * np.hypot(*steps[seed])
    mean: Doubles = steps[close].mean(axis=0)
    return mean


def _reduce(a: Doubles, b: Doubles) -> tuple[Doubles, Doubles]:
    """The shortest pair that spans the same lattice (Gauss)."""
    for _ in range(20):
        if a @ a > b @ b:
            a, b = b, a
        times = np.rint((a @ b) / (a @ a))
        if times == 0:
            break
        b = b - times * a
    return a, b


def _number_points(
    points: Doubles, steps: Doubles, pairs: NDArray[np.int64], vectors: tuple[Doubles, Doubles]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Nodes of the points, counted from neighbour to neighbour so that a bent lattice is followed; and which have one."""
    basis = np.stack(vectors)
    counted = np.rint(steps @ np.linalg.inv(basis)).astype(np.int64)
    off = np.hypot(*(steps - counted @ basis).T)
    good = (off < 0.2 * np.hypot(*basis[0])) & (np.abs(counted).max(axis=1) == 1)
    start, end = pairs[:, good]
    counted = counted[good]
    size = len(points)
    graph = coo_array((np.ones(len(start)), (start, end)), shape=(size, size)).tocsr()
    count, label = connected_components(graph, directed=False)
    member = label == np.argmax(np.bincount(label, minlength=count))
    step_of = {(int(a), int(b)): step for a, b, step in zip(start, end, counted, strict=True)}
    order, before = breadth_first_order(graph, int(np.flatnonzero(member)[0]), directed=False)
    index = np.zeros((size, 2), dtype=np.int64)
    for node in order[1:]:
        origin = int(before[node])
        forward = step_of.get((origin, int(node)))
        index[node] = index[origin] + (forward if forward is not None else -step_of[int(node), origin])
    return index, member


def _solve(points: Doubles, index: NDArray[np.int64]) -> FoundLattice | None:
    """Least squares; None when the points lie on one line."""
    equations = np.concatenate([np.ones((len(points), 1)), index], axis=1)
    solution, _, rank, _ = np.linalg.lstsq(equations, points, rcond=None)
    if rank < 3:
        return None
    return FoundLattice(solution[0], solution[1], solution[2])


def _turn(lattice: FoundLattice) -> FoundLattice:
    """The same lattice with `a` the shortest vector nearest to +x and `b` turned from it toward +y."""
    a, b = _reduce(lattice.a, lattice.b)
    choices = [sign * each for each in (a, b, a - b, a + b) for sign in (1, -1)]
    shortest = min(float(np.hypot(*each)) for each in choices)
    near = [each for each in choices if np.hypot(*each) < 1.15 * shortest and each[0] > 0]
    first = min(near, key=lambda each: abs(math.atan2(each[1], each[0])))
    cross = [each for each in choices if first[0] * each[1] - first[1] * each[0] > 0.5 * np.hypot(*first) * np.hypot(*each)]
    second = min(cross, key=lambda each: float(np.hypot(*each)) + 1e-6 * abs(float(first @ each)))
    return FoundLattice(lattice.origin, first, second)
