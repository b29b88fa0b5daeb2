"""Where in a micrograph there is something to see: how much of its own detail is worth keeping.

A Wiener filter passes S / (S + N) of what it is given. The signal's power S differs from place to place, and what the network
predicts tells how strong it is: so detail that the network is not sure of, or cannot see at its scale, passes where particles
lie, and stays out of the ice between them.
"""

import math

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies

_FINEST, _COARSEST, _NEIGHBOURHOOD = 0.6, 3.0, 4.0
"""Pixels: standard deviations of the Gaussians that a detail is between, and over which its power is averaged."""
_KNEE = 0.1
"""Power of the detail, in units of the noise's, at which half passes. Its weights are fitted, so only the shape hangs on it."""
_DETAIL = 2.0
"""Pixels: standard deviation of the Gaussian that is taken off the micrograph before it is weighed, slopes and all."""


def measure_gate(predicted: Tensor) -> Tensor:
    """From 0 in empty ice to 1 in the strongest particles, for each pixel of what the network predicts (height, width)."""
    detail = _smooth(predicted, _FINEST) - _smooth(predicted, _COARSEST)
    power = _smooth(detail.square(), _NEIGHBOURHOOD).clamp(min=0)
    return power / (power + _KNEE)


def pick_detail(image: Tensor, gate: Tensor) -> Tensor:
    """The fine detail of an image (height, width) where the gate is open."""
    return gate * (image - _smooth(image, _DETAIL))


def _smooth(image: Tensor, sigma: float) -> Tensor:
    """Convolve a periodic image with a Gaussian of `sigma` pixels."""
    k_row, k_column = rfft_frequencies((image.shape[0], image.shape[1]), device=image.device)
    transfer = torch.exp(-2 * (math.pi * sigma) ** 2 * (k_row**2 + k_column**2))
    smoothed: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * transfer, s=image.shape)
    return smoothed
