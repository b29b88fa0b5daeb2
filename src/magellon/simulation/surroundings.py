"""What does not decorrelate: thickness of the ice, carbon, contamination, and the beam that lights all of it."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.simulation.ice import complex_noise, inelastic_path
from magellon.simulation.scattering import electron_form_factor, ice_potential, interaction_constant
from magellon.simulation.truth import MovieTruth

_CARBON_DENSITY = 0.1
"""Atoms in 1 Å³ of amorphous carbon, 2 g/cm³."""
_CARBON_POTENTIAL = 9.0
"""V, of which ice would have given a part."""
_LARGEST_PHASE = 0.6
"""Radians: thicker things scatter too strongly for a linear image, so their phase levels off."""


@dataclass(frozen=True)
class Canvas:
    """The area that is rendered, coarsely, and where the field lies in it."""

    shape: tuple[int, int]
    """Coarse pixels, fine enough for the resolution that is rendered."""
    full_shape: tuple[int, int]
    """The same area in the movie's pixels."""
    offset: tuple[int, int]
    """Row and column of the field's first pixel, in the movie's pixels."""
    pixel_size: float
    """Of the coarse pixels, Å."""

    @property
    def ratio(self) -> float:
        """Coarse pixels per pixel of the movie. Sample 0 is common to both."""
        return self.shape[0] / self.full_shape[0]

    def field_axes(self) -> tuple[Tensor, Tensor]:
        """Where the coarse rows (height, 1) and columns (1, width) lie in the field, in the movie's pixels."""
        y = torch.arange(self.shape[0], dtype=torch.float32) / self.ratio - self.offset[0]
        x = torch.arange(self.shape[1], dtype=torch.float32) / self.ratio - self.offset[1]
        return y[:, None], x[None, :]


@dataclass(frozen=True)
class Static:
    """Images of the canvas."""

    phase: Tensor
    """Radians."""
    absorption: Tensor
    """Fraction of the intensity lost, relative to the mean."""


def render_static(truth: MovieTruth, canvas: Canvas, rng: np.random.Generator) -> tuple[Static, Tensor | None]:
    """Phase and absorption of all that stays as it is, and the beam's profile over the field (None: flat)."""
    around, optics, pixel_size = truth.surroundings, truth.optics, truth.pixel_size
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    y, x = canvas.field_axes()
    gradient_x, gradient_y = around.ice_gradient
    thickness = smooth_noise(canvas.shape, 600 / canvas.pixel_size, generator) * around.ice_roughness
    thickness += gradient_x * (x / truth.shape[1] - 0.5) + gradient_y * (y / truth.shape[0] - 0.5)
    thickness *= around.ice_thickness
    for blob in around.contamination:
        distance = torch.sqrt((x - blob.x_px) ** 2 + (y - blob.y_px) ** 2) / blob.radius_px
        thickness += blob.thickness * _crystal(distance, canvas, blob.radius_px * canvas.ratio, generator)
    phase = interaction_constant(optics.voltage) * ice_potential() * thickness
    absorption = thickness / inelastic_path(optics.voltage)
    if around.carbon is not None:
        film = _film(around.carbon, x, y, 6 / pixel_size)
        phase += interaction_constant(optics.voltage) * _CARBON_POTENTIAL * around.carbon_thickness * film
        phase += film * _carbon_texture(truth, canvas, generator)
        absorption += film * (around.carbon_thickness * 1.6 / inelastic_path(optics.voltage))
    phase = _LARGEST_PHASE * torch.tanh(phase / _LARGEST_PHASE)
    return Static(phase, absorption.clamp(max=0.85)), render_beam(truth)


def render_beam(truth: MovieTruth) -> Tensor | None:
    """Illumination (height, width) relative to the mean: its edge with a few Fresnel fringes."""
    if truth.surroundings.beam is None:
        return None
    centre_x, centre_y, radius = truth.surroundings.beam
    height, width = truth.shape
    x, y = torch.arange(width, dtype=torch.float32)[None, :], torch.arange(height, dtype=torch.float32)[:, None]
    inside = (radius - torch.sqrt((x - centre_x) ** 2 + (y - centre_y) ** 2)) * truth.pixel_size
    # Fringes of an edge at the defocus of the condenser, far larger than that of the image.
    scale = 60.0
    fringes = 0.12 * torch.cos(math.pi * (inside / scale) ** 2 / 4 - 0.75 * math.pi) * torch.exp(-inside.clamp(min=0) / 220)
    edge = torch.sigmoid(inside / 15)
    return (0.01 + 0.99 * edge * (1 + torch.where(inside > 0, fringes, torch.zeros(())))).clamp(min=0.01)


def smooth_noise(shape: tuple[int, int], length_px: float, generator: torch.Generator) -> Tensor:
    """Random field of unit variance, correlated over a length."""
    k_row, k_column = rfft_frequencies(shape)
    transform = complex_noise((shape[0], shape[1] // 2 + 1), generator)
    transform *= torch.exp(-(k_row**2 + k_column**2) * (2 * math.pi * length_px) ** 2 / 4)
    transform[0, 0] = 0
    field: Tensor = torch.fft.irfft2(transform, s=shape)
    return field / field.double().pow(2).mean().sqrt().clamp(min=1e-12).float()


def _crystal(distance: Tensor, canvas: Canvas, radius_px: float, generator: torch.Generator) -> Tensor:
    """Profile of a lump, 1 in its middle and 0 beyond its radius, with a ragged outline and a rough face."""
    ragged = smooth_noise(canvas.shape, max(radius_px / 3, 2.0), generator)
    rough = smooth_noise(canvas.shape, max(radius_px / 12, 1.5), generator)
    profile = (1 - (distance / (0.8 + 0.12 * ragged.clamp(-1.5, 1.5))) ** 2).clamp(min=0)
    return torch.sqrt(profile) * (1 + 0.15 * rough)


def _film(circle: tuple[float, float, float], x: Tensor, y: Tensor, softness_px: float) -> Tensor:
    """1 beyond a circle, 0 inside, over a soft edge."""
    return torch.sigmoid((torch.sqrt((x - circle[0]) ** 2 + (y - circle[1]) ** 2) - circle[2]) / softness_px)


def _carbon_texture(truth: MovieTruth, canvas: Canvas, generator: torch.Generator) -> Tensor:
    """Phase of amorphous carbon about its mean, which does not move under the beam."""
    k_row, k_column = rfft_frequencies(canvas.shape, canvas.pixel_size)
    k_squared = k_row**2 + k_column**2
    factor = electron_form_factor("C", k_squared)
    structure = 0.1 + 0.9 * torch.sigmoid((torch.sqrt(k_squared) - 0.3) / 0.06)
    constant = interaction_constant(truth.optics.voltage)
    power = constant**2 * truth.surroundings.carbon_thickness * _CARBON_DENSITY * factor**2 * structure
    amplitude = torch.sqrt(power * (canvas.shape[0] * canvas.shape[1])) / canvas.pixel_size
    texture: Tensor = torch.fft.irfft2(complex_noise(amplitude.shape, generator) * amplitude, s=canvas.shape)
    return texture
