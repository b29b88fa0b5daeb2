"""A linear filter on a flattened field: score map, candidates, noise expectation and threshold."""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.picking.mixture import NoisePeaks, ScoreModel, fit_scores, measure_noise_peaks
from magellon.algorithms.picking.peaks import find_maxima, refine_maxima, suppress_neighbours

NOISE_SEED = 20240229
NOISE_SIDE = 192
"""Of the noise field, in cells, besides the margins: enough maxima to tell their distribution."""


@dataclass(frozen=True)
class Candidates:
    """Local maxima of a score map, highest first, and the model that tells particles among them.

    Attributes:
        map: (height, width), scores in standard deviations of the noise.
        cells: (n, 2) int64, (y, x).
        scores: (n,) float64.
        distance: least distance of two particles, in cells.
        highest_noise: the score that one maximum of a whole empty micrograph exceeds on average.
    """

    map: Tensor
    cells: Tensor
    scores: Tensor
    distance: float
    highest_noise: float
    model: ScoreModel

    def accept(self, threshold: float | None = None) -> tuple[Tensor, Tensor]:
        """Those at or above the threshold, the model's if None, without lesser neighbours.

        Returns:
            (m, 2) float64 positions (y, x), refined below a cell, and (m,) scores; highest first.
        """
        chosen = self.scores >= (self.model.threshold if threshold is None else threshold)
        cells, scores = self.cells[chosen], self.scores[chosen]
        kept = suppress_neighbours(cells, self.distance)
        return refine_maxima(self.map, cells[kept]), scores[kept]

    @property
    def explained(self) -> float:
        """Part of the field's squares that the accepted ones explain beyond what noise would.

        Of a kernel of norm 1 each explains its score's square, less that of the highest peak of an empty micrograph.
        """
        chosen = self.scores >= self.model.threshold
        kept = suppress_neighbours(self.cells[chosen], self.distance)
        return float((self.scores[chosen][kept].square() - self.highest_noise**2).clamp(min=0).sum())


@dataclass(frozen=True)
class Scene:
    """What a filter is applied to, prepared once for any number of filters.

    Attributes:
        transform: of the flattened field, zero-padded to `padded`.
        noise: (side, side), white noise of unit standard deviation.
        allowed: (height, width) bool, where a particle's centre may be.
        padded: (height, width) of the transforms.
    """

    transform: Tensor
    noise: Tensor
    allowed: Tensor
    padded: tuple[int, int]

    def detect(self, kernel: Tensor, distance: float) -> Candidates:
        """Correlate with a kernel, model the maxima and keep, of the accepted ones nearer than `distance`, the better.

        Args:
            kernel: (n, n), n odd, centred; its square sums to 1.
            distance: in cells.
        """
        height, width = self.allowed.shape
        response = torch.fft.rfft2(embed_kernel(kernel, self.padded)).conj()
        scores: Tensor = torch.fft.irfft2(self.transform * response, s=self.padded)[:height, :width]
        reach = max(1, round(0.7 * distance))
        cells, values = find_maxima(scores, self.allowed, reach)
        _, troughs = find_maxima(-scores, self.allowed, reach)
        noise = self._measure_noise(kernel, reach)
        return Candidates(scores, cells, values, distance, noise.highest, fit_scores(values, troughs, noise))

    def _measure_noise(self, kernel: Tensor, reach: int) -> NoisePeaks:
        """What the same would give on an empty micrograph."""
        side, margin = self.noise.shape[0], kernel.shape[-1] // 2
        response = torch.fft.rfft2(embed_kernel(kernel, (side, side))).conj()
        filtered = torch.fft.irfft2(torch.fft.rfft2(self.noise) * response, s=(side, side))
        inside = torch.zeros_like(filtered, dtype=torch.bool)
        inside[margin : side - margin, margin : side - margin] = True
        _, values = find_maxima(filtered, inside, reach)
        return measure_noise_peaks(values, float(self.allowed.sum()) / max((side - 2 * margin) ** 2, 1))


def prepare_scene(flat: Tensor, allowed: Tensor, margin: int) -> Scene:
    """Transform of the field, and noise to compare with.

    Args:
        flat: (height, width), flattened, noise of unit standard deviation.
        allowed: (height, width) bool, where centres may be.
        margin: zero padding in cells, at least the radius of the largest kernel.
    """
    padded = (fast_size(flat.shape[0] + margin), fast_size(flat.shape[1] + margin))
    generator = torch.Generator().manual_seed(NOISE_SEED)
    side = NOISE_SIDE + 2 * margin
    noise = torch.randn(side, side, generator=generator).to(flat)
    return Scene(torch.fft.rfft2(flat, s=padded), noise, allowed, padded)


def fast_size(size: int) -> int:
    """The next even size of which 2, 3 and 5 are the only prime factors: transforms are fast there."""
    size += size % 2
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 2


def embed_kernel(kernel: Tensor, shape: tuple[int, int]) -> Tensor:
    """Put a centred odd kernel (..., n, n) into zeros of `shape` with its centre at [0, 0]."""
    size = kernel.shape[-1]
    canvas = torch.zeros(*kernel.shape[:-2], *shape, dtype=kernel.dtype, device=kernel.device)
    canvas[..., :size, :size] = kernel
    return torch.roll(canvas, (-(size // 2), -(size // 2)), dims=(-2, -1))
