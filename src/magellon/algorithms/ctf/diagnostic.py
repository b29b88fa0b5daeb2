"""The picture of a fit: half of it measured, half fitted."""

import torch
from torch import Tensor

from magellon.algorithms.ctf.records import CtfFit
from magellon.algorithms.optics import ctf_phase
from magellon.algorithms.spectrum.display import crop_spectrum, flatten_spectrum

BEYOND = 0.35
"""Contrast of the fitted rings beyond the fit resolution."""


def draw_diagnostic(power: Tensor, pixel_size: float, fit: CtfFit) -> tuple[Tensor, float]:
    """Measured rings on the right, fitted rings on the left, both about -1 to 1.

    Args:
        power: (size, size), centred power spectrum.
        pixel_size: Å/px of the image whose Nyquist frequency is the edge.

    Returns:
        The picture (n, n) up to the end of the fit, and the pixel size of an image whose Nyquist frequency is its edge.
    """
    highest = float(fit.profile.frequency[-1])
    middle = crop_spectrum(power, min(1.0, 2 * pixel_size * highest))
    shown_pixel_size = pixel_size * power.shape[-1] / middle.shape[-1]
    picture = flatten_spectrum(middle)
    fitted = draw_rings(middle.shape[-1], shown_pixel_size, fit)
    half = middle.shape[-1] // 2
    picture[:, :half] = fitted[:, :half]
    return picture, shown_pixel_size


def draw_rings(size: int, pixel_size: float, fit: CtfFit) -> Tensor:
    """-cos 2 chi of the fit as a centred picture (size, size); rings narrower than the pixels fade."""
    step = 1 / (size * pixel_size)
    axis = (torch.arange(size, dtype=torch.float64) - size // 2) * step
    k_squared = axis[:, None] ** 2 + axis**2
    chi = ctf_phase(fit.model, k_squared, torch.atan2(axis[:, None], axis[None, :]))
    slope_y, slope_x = torch.gradient(2 * chi)
    finest = torch.sinc(torch.hypot(slope_y, slope_x) / (2 * torch.pi)).clamp(min=0)
    contrast = torch.where(k_squared.sqrt() <= 1 / fit.resolution, 1.0, BEYOND)
    return (-torch.cos(2 * chi) * finest * contrast * 0.8).float()
