"""Poisson numbers for a camera: exact, and several times faster than a general generator because the means are alike.

The mean of each pixel is rounded down to one of some levels, for which a table holds the inverse distribution; what rounding
took away (at most a few per cent) is added as a sparse process of its own. The sum of two Poisson numbers is a Poisson number.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

_BITS = 14
_CELLS = 1 << _BITS
_CHUNK = 1 << 17
"""Pixels drawn at a time: what fits into a processor's cache."""
_LARGEST = 100
"""Above any number a tabulated mean can give."""


class PoissonSampler:
    """For means between 0 and a few times `mean`; larger ones take the general path."""

    def __init__(self, mean: float, levels: int = 64) -> None:
        self.step = max(2.0 * mean / levels, 1e-9)
        self.levels = levels
        self.distribution = special.pdtr(np.arange(_LARGEST)[None, :], np.arange(levels)[:, None] * self.step)
        self.table = np.concatenate([_inverse_table(row) for row in self.distribution])

    def draw(self, means: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Numbers of the shape of `means`, at most 254."""
        drawn = np.empty(means.size, dtype=np.uint8)
        flat = means.ravel()
        for start in range(0, means.size, _CHUNK):
            drawn[start : start + _CHUNK] = self._draw_chunk(flat[start : start + _CHUNK], rng)
        return drawn.reshape(means.shape)

    def _draw_chunk(self, flat: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
        scaled = flat * np.float32(1 / self.step)
        level = scaled.astype(np.uint8) if scaled.max(initial=0) < 256 else np.minimum(scaled, 255).astype(np.uint8)
        large = np.flatnonzero(level >= self.levels)
        np.minimum(level, self.levels - 1, out=level)
        cell = rng.integers(0, 65536, flat.size, dtype=np.uint16) >> (16 - _BITS)
        index = level.astype(np.int32)
        index <<= _BITS
        index |= cell
        drawn = self.table.take(index)
        # Cells in which the distribution steps are settled with the bits the table has no room for.
        split = np.flatnonzero(drawn == 255)
        position = (cell[split] + rng.random(split.size)) / _CELLS
        drawn[split] = (self.distribution[level[split]] < position[:, None]).sum(axis=1)
        self._add_rest(drawn, flat - level * np.float32(self.step), rng)
        if large.size:
            drawn[large] = np.minimum(rng.poisson(flat[large]), 254)
        return drawn

    def _add_rest(self, drawn: NDArray[np.uint8], rest: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Add events of mean `rest`, which is below `step`: an even shower of which each pixel keeps its share."""
        count = rng.poisson(self.step * drawn.size)
        place = rng.integers(0, drawn.size, count)
        place, times = np.unique(place[rng.random(count) * self.step < rest[place]], return_counts=True)
        drawn[place] += times.astype(np.uint8)


def _inverse_table(distribution: NDArray[np.float64]) -> NDArray[np.uint8]:
    """For each cell of probability the number all of it stands for, or 255 where it holds a step."""
    edges = np.arange(_CELLS + 1) / _CELLS
    below = np.searchsorted(distribution, edges, side="left")
    low, high = below[:-1], below[1:]
    return np.where(low == high, low, 255).astype(np.uint8)
