"""Pairs of exposures of one specimen, on a coarse grid and in milliseconds: what a denoiser learns from.

At 4 Å/px the electrons in a pixel are so many that their noise is Gaussian, and detectors, motion and damage are factors of
the transform. So neither frames nor the detector's own pixels are drawn, and each pair has a microscope, an ice and a specimen
of its own. Particles, ice, carbon and contamination are common to both exposures; only the electrons differ.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import CtfModel, ctf_phase
from magellon.simulation.ice import complex_noise, ice_phase_spectrum, inelastic_path
from magellon.simulation.scattering import electron_form_factor, ice_potential, interaction_constant
from magellon.simulation.silhouettes import Silhouette
from magellon.simulation.surroundings import smooth_noise

_MARGIN = 48
"""Pixels about the field, so that nothing that leaves it on one side comes back on the other."""
_LARGEST_PHASE = 0.6
_CARBON_DENSITY = 0.1
_CARBON_POTENTIAL = 9.0


@dataclass(frozen=True)
class ExposurePair:
    """Images (size, size) in units in which the noise of an exposure is about 1; row and column at the same scale."""

    first: Tensor
    second: Tensor
    mean: Tensor
    """What both tend to with many exposures: free of shot noise."""
    particles: Tensor
    """The contrast of the particles alone, in the same units."""
    grain: Tensor
    """That of the molecules of the ice alone: in `mean` as well, and noise to whoever looks for particles."""
    limit: float
    """Highest frequency that holds anything, cycles per pixel: less than 0.5 where the camera's pixels are the coarser."""


@dataclass(frozen=True)
class _Specimen:
    phase: Tensor
    """Of everything, radians."""
    absorption: Tensor
    """Of everything, a fraction of the intensity."""
    particles: Tensor
    """Phase of these alone."""
    grain: Tensor
    """Phase of the molecules of the ice alone."""


@dataclass(frozen=True)
class _Field:
    rng: np.random.Generator
    generator: torch.Generator
    pixel_size: float
    side: int
    voltage: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.side, self.side

    def flip(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def uniform(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def log_uniform(self, low: float, high: float) -> float:
        return math.exp(self.uniform(math.log(low), math.log(high)))


def draw_pair(
    rng: np.random.Generator, bank: Sequence[Sequence[Silhouette]], size: int, pixel_size: float, exposure: tuple[float, float]
) -> ExposurePair:
    """A pair of exposures of a specimen drawn at random.

    Args:
        size: px; `pixel_size` Å.
        exposure: lowest and highest of one of the two, e/Å².
    """
    generator = torch.Generator()
    generator.manual_seed(int(rng.integers(2**62)))
    voltage = float(rng.choice([300.0, 200.0, 100.0], p=[0.75, 0.22, 0.03]))
    field = _Field(rng, generator, pixel_size, size + 2 * _MARGIN, voltage)
    specimen = _draw_specimen(field, bank)
    k_row, k_column = rfft_frequencies(field.shape, pixel_size)
    k_squared = k_row**2 + k_column**2
    camera_pixel = field.log_uniform(0.6, 4.0) if field.flip(0.85) else field.uniform(4.0, 8.0)
    transfer, noise_transfer = _draw_camera(field, k_squared * camera_pixel**2)
    transfer = transfer * -2 * torch.sin(_draw_chi(field, k_row, k_column))
    transfer = transfer * torch.exp(-field.log_uniform(30, 500) / 4 * k_squared)
    transform = torch.fft.rfft2(specimen.phase) * transfer - torch.fft.rfft2(specimen.absorption)
    image = (torch.fft.irfft2(transform, s=field.shape) + 1).clamp(min=0.02) * _draw_beam(field)
    electrons = field.log_uniform(*exposure) * field.uniform(0.7, 0.95) * pixel_size**2
    limited = camera_pixel > pixel_size
    limit = (k_squared.sqrt() < 0.5 / camera_pixel).float()

    def expose() -> Tensor:
        noise = torch.randn(field.shape, generator=generator) * image.sqrt()
        spectrum = torch.fft.rfft2(noise) * noise_transfer
        exposure: Tensor = expected + torch.fft.irfft2(spectrum * limit if limited else spectrum, s=field.shape)
        return exposure[inside, inside].contiguous()

    inside = slice(_MARGIN, _MARGIN + size)
    expected = image * math.sqrt(electrons)
    if limited:
        expected = torch.fft.irfft2(torch.fft.rfft2(expected) * limit, s=field.shape)

    def image_alone(phase: Tensor) -> Tensor:
        alone: Tensor = torch.fft.irfft2(torch.fft.rfft2(phase) * transfer, s=field.shape) * math.sqrt(electrons)
        return alone[inside, inside].contiguous()

    return ExposurePair(
        expose(),
        expose(),
        expected[inside, inside].contiguous(),
        image_alone(specimen.particles),
        image_alone(specimen.grain),
        0.5 * min(1.0, pixel_size / camera_pixel),
    )


def _draw_specimen(field: _Field, bank: Sequence[Sequence[Silhouette]]) -> _Specimen:
    constant, path = interaction_constant(field.voltage), inelastic_path(field.voltage)
    particles = _scatter_particles(field, bank) * constant if field.flip(0.92) else torch.zeros(field.shape)
    thickness = field.uniform(100, 900)
    uneven = thickness * field.log_uniform(0.003, 0.1) * smooth_noise(field.shape, field.log_uniform(40, 400), field.generator)
    solid = torch.zeros(field.shape)
    if field.flip(0.3):
        solid += _draw_lumps(field, int(field.rng.integers(1, 4)), (60, 450), (200, 1500))
    if field.flip(0.25):
        solid += _draw_lumps(field, int(field.rng.integers(1, 30)), (10, 45), (10, 120))
    grain = _draw_ice(field, thickness)
    phase = particles + constant * ice_potential() * (uneven + solid) + grain
    absorption = (uneven + solid) / path
    if field.flip(0.22):
        film = torch.ones(field.shape) if field.flip(0.3) else _draw_edge(field, 6.0)
        carbon = field.log_uniform(15, 250)
        phase += film * (constant * _CARBON_POTENTIAL * carbon + _draw_carbon(field, carbon))
        absorption = absorption + film * (carbon * 1.6 / path)
    return _Specimen(_LARGEST_PHASE * torch.tanh(phase / _LARGEST_PHASE), absorption.clamp(-0.5, 0.9), particles, grain)


def _scatter_particles(field: _Field, bank: Sequence[Sequence[Silhouette]]) -> Tensor:
    """Potentials (V Å) of one to three kinds of particles at places that keep some distance, or not."""
    canvas = torch.zeros(field.shape)
    for _ in range(int(field.rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))):
        views = bank[int(field.rng.integers(len(bank)))]
        extent = max(view.extent for view in views) / field.pixel_size
        wanted = min(300, max(1, round(field.log_uniform(0.05, 0.8) * field.side**2 / extent**2)))
        apart = extent * (field.uniform(0.3, 1.0) if field.flip(0.85) else 0.0)
        accepted: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
        for candidate in field.rng.uniform(0, field.side, (3 * wanted, 2)):
            if len(accepted) < wanted and all(math.dist(candidate, other) >= apart for other in accepted):
                accepted.append(candidate)
                image = views[int(field.rng.integers(len(views)))].potential
                image = torch.rot90(image if field.flip(0.5) else image.flip(0), int(field.rng.integers(4)))
                _paste(canvas, image, int(candidate[0]), int(candidate[1]))
    return canvas


def _paste(canvas: Tensor, image: Tensor, y: int, x: int) -> None:
    """Add an image about (y, x), cut off at the edges."""
    box, (height, width) = image.shape[0], canvas.shape
    top, left = y - box // 2, x - box // 2
    rows, columns = slice(max(0, -top), min(box, height - top)), slice(max(0, -left), min(box, width - left))
    if rows.start < rows.stop and columns.start < columns.stop:
        canvas[top + rows.start : top + rows.stop, left + columns.start : left + columns.stop] += image[rows, columns]


def _draw_ice(field: _Field, thickness: float) -> Tensor:
    """Phase of the molecules, blurred as they move during the exposure."""
    k_row, k_column = rfft_frequencies(field.shape, field.pixel_size)
    k = torch.sqrt(k_row**2 + k_column**2)
    rate = ((2 * math.pi) ** 2 * 1.1 / 6 * 30 * k**2).clamp(min=1e-3)
    power = ice_phase_spectrum(k, thickness, field.voltage) * 2 * (rate - 1 + torch.exp(-rate)) / rate**2
    amplitude = torch.sqrt(power) * (field.side / field.pixel_size)
    phase: Tensor = torch.fft.irfft2(complex_noise(amplitude.shape, field.generator) * amplitude, s=field.shape)
    return phase


def _draw_carbon(field: _Field, thickness: float) -> Tensor:
    """Phase of amorphous carbon about its mean."""
    k_row, k_column = rfft_frequencies(field.shape, field.pixel_size)
    k_squared = k_row**2 + k_column**2
    power = interaction_constant(field.voltage) ** 2 * thickness * _CARBON_DENSITY * electron_form_factor("C", k_squared) ** 2
    amplitude = torch.sqrt(power * 0.1) * (field.side / field.pixel_size)
    phase: Tensor = torch.fft.irfft2(complex_noise(amplitude.shape, field.generator) * amplitude, s=field.shape)
    return phase


def _draw_lumps(field: _Field, count: int, radius: tuple[float, float], height: tuple[float, float]) -> Tensor:
    """Thickness in Å of crystals and drops with a ragged outline."""
    y, x = torch.arange(field.side)[:, None], torch.arange(field.side)[None]
    total = torch.zeros(field.shape)
    ragged = smooth_noise(field.shape, max(radius[1] / field.pixel_size / 4, 2.0), field.generator).clamp(-1.5, 1.5)
    rough = smooth_noise(field.shape, max(radius[0] / field.pixel_size / 4, 1.5), field.generator)
    for _ in range(count):
        size = field.log_uniform(*radius) / field.pixel_size
        distance = torch.hypot(y - field.uniform(0, field.side), x - field.uniform(0, field.side)) / size
        profile = (1 - (distance / (0.8 + 0.15 * ragged)) ** 2).clamp(min=0).sqrt()
        total += profile * (1 + 0.12 * rough) * field.log_uniform(*height)
    return total


def _draw_edge(field: _Field, softness: float) -> Tensor:
    """1 on one side of a wide circle's edge through the field, 0 on the other."""
    radius = field.uniform(2000, 12000) / field.pixel_size
    angle, inset = field.uniform(0, 2 * math.pi), field.uniform(-0.4, 0.4) * field.side
    y = torch.arange(field.side)[:, None] - field.side / 2 - (radius + inset) * math.sin(angle)
    x = torch.arange(field.side)[None] - field.side / 2 - (radius + inset) * math.cos(angle)
    side = 1.0 if field.flip(0.5) else -1.0
    return torch.sigmoid(side * (torch.hypot(y, x) - radius) * field.pixel_size / softness)


def _draw_beam(field: _Field) -> Tensor:
    """Illumination about 1: uneven by some per cent, sometimes with its edge in the field."""
    y, x = (torch.arange(field.side) / field.side - 0.5)[:, None], (torch.arange(field.side) / field.side - 0.5)[None]
    beam = 1 + field.uniform(-0.06, 0.06) * y + field.uniform(-0.06, 0.06) * x
    return beam * (0.02 + 0.98 * _draw_edge(field, 15.0)) if field.flip(0.04) else beam


def _draw_chi(field: _Field, k_row: Tensor, k_column: Tensor) -> Tensor:
    """The phase of a CTF: 0.3 to 5 µm of defocus, some with a phase plate."""
    defocus, astigmatism = field.log_uniform(3000, 50000), field.log_uniform(10, 2000)
    model = CtfModel(
        defocus_u=defocus + astigmatism / 2,
        defocus_v=defocus - astigmatism / 2,
        defocus_angle=field.uniform(0, 180),
        phase_shift=field.uniform(30, 130) if field.flip(0.06) else 0.0,
        voltage=field.voltage,
        spherical_aberration=float(field.rng.choice([2.7, 1.4, 0.01])),
        amplitude_contrast=field.uniform(0.06, 0.12),
    )
    return ctf_phase(model, k_row**2 + k_column**2, torch.atan2(k_row, k_column))


def _draw_camera(field: _Field, squared: Tensor) -> tuple[Tensor, Tensor]:
    """Transfer of signal and of noise at squared frequencies in cycles per pixel of the camera.

    Counting cameras have white noise, less at low frequency the more electrons they lose by coincidence; in integrating ones
    noise falls with frequency.
    """
    spread = field.uniform(0.3, 1.0) if field.flip(0.2) else field.uniform(0.0, 0.05)
    lost = field.uniform(0, 0.35) if spread < 0.1 else 0.0
    charge = torch.exp(-spread * 4 * squared)
    signal = torch.exp(-field.uniform(0.2, 0.6) * 4 * squared) * charge
    return signal, charge * torch.sqrt(1 - lost * torch.exp(-squared / 0.25**2))
