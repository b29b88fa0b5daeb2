"""Learning to denoise without ever seeing a clean image: from one half of an exposure predict the other."""

import math

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies

_KNEE, _RISE = 1 / 15, 0.15
"""Cycles per pixel (1/60 and 1/27 Å at the network's scale): below the first errors count less, beyond the second more, as
micrographs are strong here and weak there."""
_LEAST_WEIGHT = 0.03


def spectral_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean over a batch of squared errors, weighted by frequency, and for each image by how strong its target is.

    The mean of what the target may be minimises it whatever the weights, so they only say where to look first: without
    them a network would learn crystals and the slope of the ice, which outshine particles.

    Args:
        predicted, target: (n, 1, height, width).
    """
    shape = (predicted.shape[-2], predicted.shape[-1])
    k_row, k_column = rfft_frequencies(shape, device=predicted.device)
    k_squared = k_row**2 + k_column**2
    weight = (_LEAST_WEIGHT + k_squared / (k_squared + _KNEE**2)) * (1 + k_squared / _RISE**2)
    # Columns of the half plane stand for two each, but the first and the last.
    weight = weight * torch.where((k_column == 0) | (k_column == 0.5), 1.0, 2.0)
    scale = 1 / math.prod(shape) ** 2
    error = (torch.fft.rfft2(predicted - target).abs().square() * weight).sum(dim=(-3, -2, -1)) * scale
    strength = (torch.fft.rfft2(target).abs().square() * weight).sum(dim=(-3, -2, -1)) * scale
    mean: Tensor = (error / (0.05 + strength) ** 0.7).mean()
    return mean
