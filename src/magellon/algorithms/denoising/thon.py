"""Where the CTF is near zero a micrograph holds nothing but noise: the Wiener filter that knows its Thon rings.

What the network and its weights do to a frequency is right for its whole neighbourhood. Within it the signal goes as the CTF
squared, from nothing to twice the mean, and at fine detail, where noise is far stronger, so do the weights of a Wiener filter.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.ctf import Microscope, estimate_ctf
from magellon.algorithms.optics import CtfModel, ctf_phase
from magellon.errors import BadInput

_EQUAL = 20.0
"""Å at which signal and noise are about as strong; the ratio falls with the fourth power of the frequency. At coarser detail
the filter does next to nothing: there micrographs hold much that has no rings."""
_FIELD = 2048
"""Pixels across, in the middle of a micrograph, from which its rings are fitted: with more it takes longer for nothing."""


@dataclass(frozen=True)
class ThonRings:
    """The CTF of a micrograph, as far as it is known."""

    model: CtfModel
    phase_error: float
    """Å²: standard error of its phase, radians for each 1/Å²."""

    def weigh(self, k_row: Tensor, k_column: Tensor) -> Tensor:
        """By what to multiply the transform of a denoised image, at frequencies (1/Å) that broadcast against each other.

        Near 1 on average; 1 up to the first maximum of the CTF, and where the error of the phase leaves nothing known.
        """
        k_squared = k_row**2 + k_column**2
        phase = ctf_phase(self.model, k_squared, torch.atan2(k_row, k_column))
        known = torch.exp(-2 * (self.phase_error * k_squared) ** 2)
        squared = 0.5 - 0.5 * torch.cos(2 * phase) * known
        ratio = 0.5 * (_EQUAL**2 * k_squared) ** 2
        weights = squared * (1 + 2 * ratio) / (squared + ratio)
        return torch.where(phase < math.pi / 2, torch.ones_like(weights), weights)


def find_rings(image: Tensor, pixel_size: float, microscope: Microscope) -> ThonRings | None:
    """Fit the CTF of a micrograph (height, width); None where it shows no rings that can be trusted."""
    height, width = (min(side, _FIELD) for side in image.shape)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    try:
        fit = estimate_ctf(image[top : top + height, left : left + width].contiguous(), pixel_size, microscope)
    except BadInput:  # too small or too coarse for rings
        return None
    if fit.warnings:
        return None
    # The direction of the astigmatism is as uncertain as its strength; half of either lies on each side of the mean.
    defocus_error = math.hypot(fit.defocus_error, fit.astigmatism_error / 2)
    return ThonRings(fit.model, math.pi * microscope.wavelength * defocus_error)
