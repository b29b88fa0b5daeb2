"""The lattice of squares or holes: a square or hexagonal one at any angle, slightly sheared by tilt."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magellon.simulation.grids.truth import Floats


@dataclass(frozen=True)
class GridLattice:
    """Nodes at `origin` + i a + j b."""

    origin: tuple[float, float]
    """(x, y) of a node, px."""
    a: tuple[float, float]
    b: tuple[float, float]

    @classmethod
    def make(
        cls, origin: tuple[float, float], pitch: float, angle: float, *, hexagonal: bool = False, squeeze: float = 1.0
    ) -> "GridLattice":
        """
        Args:
            angle: of a, degrees from +x toward +y.
            squeeze: length of b relative to a: what tilt does to a lattice.
        """
        turn = math.radians(angle)
        other = turn + math.radians(60 if hexagonal else 90)
        a = (pitch * math.cos(turn), pitch * math.sin(turn))
        b = (pitch * squeeze * math.cos(other), pitch * squeeze * math.sin(other))
        return cls(origin, a, b)

    @property
    def pitch(self) -> float:
        return math.hypot(*self.a)

    def place(self, index: NDArray[np.int64]) -> Floats:
        """(n, 2) nodes to (n, 2) positions (x, y)."""
        position: Floats = (np.asarray(self.origin) + index @ np.array([self.a, self.b])).astype(np.float32)
        return position

    def locate(self, x: Floats, y: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, Floats]:
        """Of each point the node of its cell (i, j) and the way from there (dx, dy)."""
        inverse = np.linalg.inv(np.array([self.a, self.b]).T).astype(np.float32)
        relative_x, relative_y = x - np.float32(self.origin[0]), y - np.float32(self.origin[1])
        i = np.rint(inverse[0, 0] * relative_x + inverse[0, 1] * relative_y)
        j = np.rint(inverse[1, 0] * relative_x + inverse[1, 1] * relative_y)
        dx = relative_x - (i * np.float32(self.a[0]) + j * np.float32(self.b[0]))
        dy = relative_y - (i * np.float32(self.a[1]) + j * np.float32(self.b[1]))
        return i.astype(np.int64), j.astype(np.int64), dx, dy

    def cover(self, shape: tuple[int, int]) -> NDArray[np.int64]:
        """(n, 2) nodes of all cells that reach into a picture (height, width), as a full rectangle of indices.

        Row k of the result is (i, j) with i varying slowest.
        """
        height, width = shape
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64) - np.asarray(self.origin)
        fractions = corners @ np.linalg.inv(np.array([self.a, self.b]))
        low, high = np.floor(fractions.min(0)).astype(int) - 1, np.ceil(fractions.max(0)).astype(int) + 1
        i, j = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1), indexing="ij")
        return np.stack([i.ravel(), j.ravel()], axis=1)
