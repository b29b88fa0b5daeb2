"""Electron optics: the one CTF model that simulation, fitting, picking, extraction and classification share.

chi(k) = pi lambda D(theta) k² - (pi / 2) Cs lambda³ k⁴ + phase_shift + asin(amplitude_contrast), and ctf = -sin chi:
negative at low frequency, so mass is dark in the micrograph. D is positive for underfocus. (Wade 1992; Rohou & Grigorieff 2015,
doi:10.1016/j.jsb.2015.08.008; RELION applies the opposite overall sign, because its particles are inverted.)
"""

import math
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.units import Angstrom, Degree, Kilovolt, Millimetre


@dataclass(frozen=True)
class CtfModel:
    """The parameters of a contrast transfer function.

    Floats, or tensors of one batch shape (...): then every function here gives (..., height, width // 2 + 1).
    """

    defocus_u: Angstrom | Tensor
    defocus_v: Angstrom | Tensor
    defocus_angle: Degree | Tensor = 0.0
    """Of U: from +x toward +y; theta = atan2(k_row, k_column)."""
    phase_shift: Degree | Tensor = 0.0
    voltage: Kilovolt = 300.0
    spherical_aberration: Millimetre = 2.7
    amplitude_contrast: float = 0.1

    def shifted(self, height: Angstrom) -> Self:
        """The CTF of something whose defocus is larger by `height`."""
        return replace(self, defocus_u=self.defocus_u + height, defocus_v=self.defocus_v + height)


def electron_wavelength(voltage: Kilovolt) -> Angstrom:
    """Relativistic wavelength in Å: h / sqrt(2 m e V (1 + e V / (2 m c²)))."""
    volts = voltage * 1e3
    return 12.2642597 / math.sqrt(volts * (1 + 0.978475598e-6 * volts))


def ctf_phase(model: CtfModel, k_squared: Tensor, theta: Tensor) -> Tensor:
    """chi in radians at squared frequencies (1/Å²) and directions (radians) that broadcast against each other.

    Batched parameters gain trailing dimensions until they broadcast against `k_squared`.
    """
    u, v, angle, phase = (
        _trailing(value, k_squared) for value in (model.defocus_u, model.defocus_v, model.defocus_angle, model.phase_shift)
    )
    wavelength = electron_wavelength(model.voltage)
    defocus = (u + v) / 2 + (u - v) / 2 * torch.cos(2 * (theta - torch.deg2rad(angle)))
    aberration = model.spherical_aberration * 1e7 * wavelength**3 * k_squared**2
    constant = math.asin(model.amplitude_contrast)
    return math.pi * wavelength * defocus * k_squared - math.pi / 2 * aberration + torch.deg2rad(phase) + constant


def ctf_rfft(model: CtfModel, shape: tuple[int, int], pixel_size: float, device: torch.device | str = "cpu") -> Tensor:
    """The CTF on the half plane of an image of `shape`, (..., height, width // 2 + 1): -sin chi."""
    k_row, k_column = rfft_frequencies(shape, pixel_size, device)
    return -torch.sin(ctf_phase(model, k_row**2 + k_column**2, torch.atan2(k_row, k_column)))


def ctf_profile(model: CtfModel, frequencies: Tensor) -> Tensor:
    """The CTF at the mean defocus along frequencies in 1/Å: (..., n)."""
    mean = replace(model, defocus_u=(model.defocus_u + model.defocus_v) / 2, defocus_v=(model.defocus_u + model.defocus_v) / 2)
    return -torch.sin(ctf_phase(mean, frequencies**2, torch.zeros_like(frequencies)))


def critical_exposure(frequencies: Tensor, voltage: Kilovolt = 300.0) -> Tensor:
    """Exposure in e/Å² at which the amplitude at a frequency (1/Å) falls to exp(-1/2): 0.245 k^-1.665 + 2.81 at 300 kV.

    Grant & Grigorieff 2015 (doi:10.7554/eLife.06980); scaled by 0.8 at 200 kV and 0.64 at 100 kV, linear in between.
    """
    critical = 0.245 * frequencies.clamp(min=1e-6) ** -1.665 + 2.81
    return critical * voltage_dose_factor(voltage)


def voltage_dose_factor(voltage: Kilovolt) -> float:
    """How much less exposure a specimen bears at this voltage than at 300 kV: 1 at 300, 0.8 at 200, 0.64 at 100 kV."""
    if voltage >= 200:
        return min(1.0, 0.8 + 0.2 * (voltage - 200) / 100)
    return max(0.1, 0.64 + 0.16 * (voltage - 100) / 100)


def exposure_weights(frequencies: Tensor, exposures: Tensor, voltage: Kilovolt = 300.0) -> Tensor:
    """What exposure leaves of the amplitude at each frequency: exp(-N / (2 Ne)).

    Args:
        frequencies: (...) in 1/Å.
        exposures: (n,) accumulated at the middle or end of each frame, e/Å², pre-exposure included.

    Returns:
        (n, ...).
    """
    exposure = exposures.reshape(-1, *([1] * frequencies.ndim)).to(frequencies)
    return torch.exp(-exposure / (2 * critical_exposure(frequencies, voltage)))


def _trailing(value: float | Tensor, like: Tensor) -> Tensor:
    tensor = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    return tensor.reshape(*tensor.shape, *([1] * like.ndim)) if tensor.ndim else tensor
