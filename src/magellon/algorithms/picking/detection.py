"""A linear filter on a flattened field: score map, candidates, noise expectation and threshold."""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.picking.field import flatten_background
from magellon.algorithms.picking.mixture import ScoreModel, fit_scores, measure_noise_peaks
from magellon.algorithms.picking.peaks import find_maxima

NOISE_SEED = 20240229


@dataclass(frozen=True)
class Candidates:
    """Local maxima of a score map, best first, and the model that tells particles among them.

    Attributes:
        positions: (n, 2) float64, (y, x) in cells.
        scores: (n,) float64, in standard deviations of the noise.
    """

    positions: Tensor
    scores: Tensor
    model: ScoreModel

    def accepted(self) -> Tensor:
        """(n,) bool: at or above the threshold."""
        return self.scores >= self.model.threshold


@dataclass(frozen=True)
class Scene:
    """What a filter is applied to, prepared once for any number of filters.

    Attributes:
        transform: of the flattened field, zero-padded to `padded`.
        noise: the same of white noise of unit deviation, prepared in the same way.
        allowed: (height, width) bool, where a particle's centre may be.
        padded: (height, width) of the transforms.
    """

    transform: Tensor
    noise: Tensor
    allowed: Tensor
    padded: tuple[int, int]

    def detect(self, kernel: Tensor, distance: float) -> Candidates:
        """Correlate with a kernel and model the maxima.

        Args:
            kernel: (n, n), n odd, centred; its square sums to 1.
            distance: least distance of two candidates, in cells.
        """
        response = torch.fft.rfft2(embed_kernel(kernel, self.padded)).conj()
        scores, noise = (self._apply(transform * response) for transform in (self.transform, self.noise))
        positions, values = find_maxima(scores, self.allowed, distance)
        _, troughs = find_maxima(-scores, self.allowed, distance)
        _, expected = find_maxima(noise, self.allowed, distance)
        return Candidates(positions, values, fit_scores(values, troughs, measure_noise_peaks(expected)))

    def _apply(self, transform: Tensor) -> Tensor:
        height, width = self.allowed.shape
        image: Tensor = torch.fft.irfft2(transform, s=self.padded)
        return image[:height, :width]


def prepare_scene(flat: Tensor, usable: Tensor, allowed: Tensor, background_px: float, margin: int) -> Scene:
    """Transforms of the field and of simulated noise that went through the same flattening.

    Args:
        flat: (height, width), flattened, noise of unit standard deviation.
        usable: (height, width) bool, as used in flattening.
        allowed: (height, width) bool, where centres may be.
        background_px: sigma of the flattening.
        margin: zero padding in cells, at least the radius of the largest kernel.
    """
    generator = torch.Generator().manual_seed(NOISE_SEED)
    noise = torch.randn(flat.shape, generator=generator).to(flat)
    noise = flatten_background(noise, usable, background_px)
    padded = (flat.shape[0] + margin, flat.shape[1] + margin)
    return Scene(torch.fft.rfft2(flat, s=padded), torch.fft.rfft2(noise, s=padded), allowed, padded)


def embed_kernel(kernel: Tensor, shape: tuple[int, int]) -> Tensor:
    """Put a centred odd kernel (..., n, n) into zeros of `shape` with its centre at [0, 0]."""
    size = kernel.shape[-1]
    canvas = torch.zeros(*kernel.shape[:-2], *shape, dtype=kernel.dtype, device=kernel.device)
    canvas[..., :size, :size] = kernel
    return torch.roll(canvas, (-(size // 2), -(size // 2)), dims=(-2, -1))
