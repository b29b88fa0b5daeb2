"""The picture of a fit: half of it measured, half fitted."""

import math

import torch
from torch import Tensor

from magellon.algorithms.ctf.records import CtfFit
from magellon.algorithms.optics import CtfModel, ctf_phase
from magellon.algorithms.spectrum.display import crop_spectrum, equalise_rings, flatten_spectrum

BEYOND = 0.35
"""Contrast of the fitted rings beyond the fit resolution."""
ARC = 6.0
"""Degrees to each side over which the measured rings are averaged, so that the eye sees them in the noise."""
ARC_SAMPLES = 15


def draw_diagnostic(power: Tensor, pixel_size: float, fit: CtfFit) -> tuple[Tensor, float]:
    """Measured rings on the right, averaged over `ARC` along the fitted ones; fitted rings on the left; both about -1 to 1.

    Args:
        power: (size, size), centred power spectrum.
        pixel_size: Å/px of the image whose Nyquist frequency is the edge.

    Returns:
        The picture (n, n) up to the end of the fit, and the pixel size of an image whose Nyquist frequency is its edge.
    """
    highest = float(fit.profile.frequency[-1])
    middle = crop_spectrum(power, min(1.0, 2 * pixel_size * highest))
    shown_pixel_size = pixel_size * power.shape[-1] / middle.shape[-1]
    picture = equalise_rings(average_along_rings(flatten_spectrum(middle), fit.model))
    fitted = draw_rings(middle.shape[-1], shown_pixel_size, fit)
    half = middle.shape[-1] // 2
    picture[:, :half] = fitted[:, :half]
    return picture, shown_pixel_size


def average_along_rings(picture: Tensor, model: CtfModel) -> Tensor:
    """Mean over arcs of equal phase of the model: (size, size); only the right half is made, the left is 0.

    The arcs are short: rings keep their own shape where the model is wrong, and show it against the fitted half. Equal phase
    is taken as equal defocus times k², which it is to a fraction of a ring within a few degrees.
    """
    size = picture.shape[-1]
    half = size // 2
    y = (torch.arange(size, dtype=torch.float32) - half)[:, None]
    x = torch.arange(size - half, dtype=torch.float32)[None, :]
    radius, theta = torch.hypot(x, y), torch.atan2(y, x)
    mean, astigmatism = (model.defocus_u + model.defocus_v) / 2, (model.defocus_u - model.defocus_v) / 2

    def defocus(angle: Tensor) -> Tensor:
        return mean + astigmatism * torch.cos(2 * (angle - math.radians(float(model.defocus_angle))))

    here = defocus(theta)
    total = torch.zeros_like(radius)
    for offset in torch.linspace(-math.radians(ARC), math.radians(ARC), ARC_SAMPLES):
        angle = theta + offset
        reach = radius * torch.sqrt(here / defocus(angle))
        places = torch.stack([reach * torch.cos(angle), reach * torch.sin(angle)], dim=-1) + half
        grid = (2 * places / (size - 1) - 1)[None]
        total += torch.nn.functional.grid_sample(picture[None, None], grid, padding_mode="reflection", align_corners=True)[0, 0]
    averaged = torch.zeros_like(picture)
    averaged[:, half:] = total / ARC_SAMPLES
    return averaged


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
