"""Coordinates that lie on the same particle."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree


def find_duplicates(coordinates: NDArray[np.float64], scores: NDArray[np.float64], distance: float) -> NDArray[np.bool_]:
    """Which coordinates lie closer than `distance` to a better one that is kept.

    The result is that of going through them from the best score down and dropping all near a kept one; of equal scores the
    first in the list is the better. Computed in rounds: whoever is best among its undecided neighbours is kept.

    Args:
        coordinates: (n, 2).
        scores: (n,), higher is better.

    Returns:
        (n,) True where the coordinate is to be dropped.
    """
    n = len(coordinates)
    dropped = np.zeros(n, dtype=bool)
    if n == 0 or distance <= 0:
        return dropped
    rank = np.empty(n, dtype=np.int64)
    rank[np.lexsort((np.arange(n), -scores))] = np.arange(n)
    pairs = cKDTree(coordinates).query_pairs(np.nextafter(distance, 0), output_type="ndarray")
    better, worse = np.where((rank[pairs[:, 0]] < rank[pairs[:, 1]])[:, None], pairs, pairs[:, ::-1]).T
    while len(better):
        beaten = np.zeros(n, dtype=bool)
        beaten[worse] = True
        falls = worse[~beaten[better]]
        dropped[falls] = True
        alive = ~(dropped[better] | dropped[worse])
        better, worse = better[alive], worse[alive]
    return dropped
