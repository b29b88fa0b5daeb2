"""How strong the noise of an image is, which is the unit the network works in."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.errors import BadInput

_RING = (0.7, 0.95)
"""Between which fractions of its highest frequency an image holds next to nothing but noise."""


@dataclass(frozen=True)
class Level:
    """What an image is divided by, after its mean has been taken off."""

    mean: float
    noise: float
    """Standard deviation of white noise as strong as the image's is at high frequency."""

    def standardise(self, image: Tensor) -> Tensor:
        return (image - self.mean) / self.noise

    def rescaled(self, pixels_kept: float) -> "Level":
        """Of the same image resampled: with so many times as many pixels, of which each holds white noise of that much less."""
        return Level(self.mean, self.noise * math.sqrt(pixels_kept))

    def restore(self, image: Tensor) -> Tensor:
        return image * self.noise + self.mean


def measure_level(image: Tensor, limit: float = 0.5) -> Level:
    """Mean and noise of an image (height, width).

    The noise is that of the median power in a ring of high frequencies, so that neither crystals nor what leaks from the
    image's edges counts.

    Args:
        limit: highest frequency that holds anything, cycles per pixel.

    Raises:
        BadInput: the image is constant, or holds pixels that are no numbers.
    """
    mean = float(image.double().mean())
    if not math.isfinite(mean):
        raise BadInput("holds pixels that are not finite numbers")
    k_row, k_column = rfft_frequencies((image.shape[-2], image.shape[-1]), device=image.device)
    k = torch.sqrt(k_row**2 + k_column**2)
    ring = (k >= _RING[0] * limit) & (k <= _RING[1] * limit)
    power = torch.fft.rfft2(image - mean)[ring].abs().square()
    # The median of exponentially distributed values is ln 2 times their mean.
    variance = float(power.median()) / math.log(2) / (image.shape[-2] * image.shape[-1])
    if not variance > 1e-12 * max(mean**2, 1e-20):
        raise BadInput("is constant, or holds nothing at high frequency: no exposure")
    return Level(mean, math.sqrt(variance))
