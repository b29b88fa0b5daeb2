"""Vitreous ice: the phase its molecules give to electrons, how that changes as they move, and what its thickness absorbs."""

import math

import torch
from torch import Tensor

from magellon.simulation.scattering import WATER_DENSITY, interaction_constant, water_form_factor
from magellon.units import Angstrom, Exposure, Kilovolt

BROWNIAN_MOTION = 1.1
"""Mean squared displacement of a water molecule, Å² for each e/Å² (McMullan, Vinothkumar & Henderson 2015)."""


def water_structure_factor(k: Tensor) -> Tensor:
    """S(k) of low-density amorphous ice at frequencies in 1/Å: 0.05 at rest, a peak at 1/3.7 Å, a second at 1/2.1 Å, then 1."""
    rise = torch.sigmoid((k - 0.235) / 0.022)
    first = 1.35 * torch.exp(-0.5 * ((k - 0.270) / 0.022) ** 2)
    second = 0.45 * torch.exp(-0.5 * ((k - 0.480) / 0.050) ** 2)
    trough = 0.25 * torch.exp(-0.5 * ((k - 0.370) / 0.040) ** 2)
    return 0.05 + 0.95 * rise + first + second - trough


def ice_phase_spectrum(k: Tensor, thickness: Angstrom, voltage: Kilovolt) -> Tensor:
    """Power spectral density of the phase behind ice, rad² Å² at frequencies in 1/Å."""
    factor = water_form_factor(k**2)
    return interaction_constant(voltage) ** 2 * thickness * WATER_DENSITY * factor**2 * water_structure_factor(k)


def inelastic_path(voltage: Kilovolt) -> Angstrom:
    """Mean free path for inelastic scattering in ice: 3100 Å at 300 kV, shorter at lower voltage as the squared velocity."""
    return 3100.0 * _squared_velocity(voltage) / _squared_velocity(300.0)


def _squared_velocity(voltage: Kilovolt) -> float:
    gamma = 1 + voltage * 1e3 / 510998.95
    return 1 - 1 / gamma**2


class BrownianIce:
    """The phase of moving water molecules, frame after frame, on a half plane.

    Each molecule walks at random: amplitudes at frequency k forget as exp(-rate), rate = (2 pi k)² D N with the exposure N and
    D = 1.1 / 6 Å² per e/Å². A frame holds their mean over its own exposure. Such means are a first-order autoregressive process
    seen through two taps, which are chosen so that power and correlation of all frames are exact.
    """

    def __init__(self, amplitude: Tensor, k_squared: Tensor, exposure: Exposure, generator: torch.Generator) -> None:
        """`amplitude` (height, width // 2 + 1): root of the power of one instant, in units of the transform."""
        self.generator = generator
        rate = ((2 * math.pi) ** 2 * BROWNIAN_MOTION / 6 * exposure) * k_squared.double()
        rate = rate.clamp(min=1e-3)
        memory, forgotten = torch.exp(-rate), -torch.expm1(-rate)
        # Power of a mean and covariance of two successive means, in units of the power of an instant.
        power = 2 * (rate - forgotten) / rate**2
        covariance = (forgotten / rate) ** 2
        product = (covariance - memory * power) / (1 - memory**2)
        squares = power - 2 * memory * product
        total, difference = torch.sqrt(squares + 2 * product), torch.sqrt((squares - 2 * product).clamp(min=0))
        self.now, self.before = (((total + sign * difference) / 2 * amplitude).float() for sign in (1, -1))
        self.memory, self.fresh = memory.float(), torch.sqrt(1 - memory**2).float()
        self.walk = complex_noise(amplitude.shape, generator)

    def advance(self) -> Tensor:
        """The transform of the next frame's phase."""
        frame = self.walk * self.before
        self.walk.mul_(self.memory).add_(complex_noise(self.walk.shape, self.generator).mul_(self.fresh))
        return frame.add_(self.walk * self.now)


def complex_noise(shape: torch.Size | tuple[int, ...], generator: torch.Generator) -> Tensor:
    """White noise on the half plane of an image (height, width // 2 + 1), unit variance of real plus imaginary part."""
    parts = torch.empty(*shape, 2).normal_(0, math.sqrt(0.5), generator=generator)
    return torch.view_as_complex(parts)
