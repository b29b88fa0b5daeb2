"""How well squares or holes were found."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from magellon.simulation.grids.truth import Floats

REACH = 0.3
"""Of a match, relative to the size of the object."""
_BORDER = 0.1
"""Things found closer to the border than this, in sizes, may belong to an object whose centre is just outside."""


@dataclass(frozen=True)
class TargetMatch:
    """What was found, laid beside the truth."""

    true: NDArray[np.int64]
    """(found,): index of the object that each is, -1: none."""
    counts: NDArray[np.bool_]
    """(found,): False where it is neither right nor wrong: nobody can see it, or it lies on the border."""
    visible: NDArray[np.bool_]
    """(objects,): those that must be found."""
    reached: NDArray[np.bool_]
    """(objects,): those that were found."""
    error: Floats
    """(found,): distance from the truth in sizes, NaN where there is none."""

    @property
    def right(self) -> int:
        return int((self.counts & (self.true >= 0)).sum())

    @property
    def wrong(self) -> int:
        return int((self.counts & (self.true < 0)).sum())

    @property
    def missed(self) -> int:
        return int((self.visible & ~self.reached).sum())


def match_targets(
    found: Floats, centres: Floats, size: Floats, visible: NDArray[np.bool_], shape: tuple[int, int]
) -> TargetMatch:
    """Match points found (n, 2) one to one with true centres (m, 2) no farther than `REACH` sizes.

    Args:
        size: (m,) diameters or sides.
        visible: (m,) which of them must be found.
        shape: (height, width) of the picture.
    """
    usual = float(np.median(size)) if len(size) else 1.0
    true = np.full(len(found), -1, dtype=np.int64)
    error = np.full(len(found), np.nan, dtype=np.float32)
    if len(found) and len(centres):
        distance = np.hypot(*(found[:, None] - centres[None]).transpose(2, 0, 1)) / size[None]
        rows, columns = linear_sum_assignment(np.minimum(distance, REACH) + 1e-3 * ~visible[None])
        near = distance[rows, columns] < REACH
        true[rows[near]], error[rows[near]] = columns[near], distance[rows, columns][near]
    reached = np.zeros(len(centres), dtype=np.bool_)
    reached[true[true >= 0]] = True
    edge = np.array([shape[1], shape[0]]) - 1
    counts = ((found > _BORDER * usual) & (found < edge - _BORDER * usual)).all(1) | (true >= 0) if len(found) else true >= 0
    counts[true >= 0] &= visible[true[true >= 0]]
    hidden = centres[~visible]
    if len(hidden) and len(found):
        close = np.asarray(cKDTree(hidden).query(found)[0]) < 0.5 * usual
        counts &= ~(close & (true < 0))
    return TargetMatch(true, counts, visible, reached, error)
