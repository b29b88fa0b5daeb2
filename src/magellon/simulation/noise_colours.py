"""Colours of noise: how the power of what is no signal may be spread over frequency, as wide as pickers are to know it."""

import math

import numpy as np
import torch
from torch import Tensor

PARTICLE_BAND = (1.0, 3.0)
"""Cycles per diameter: frequencies at which particles are seen, and at which all colours are equally strong."""
PLAIN = 0.55
"""Part of the draws that is nearly white, as a counting camera's noise is in vitreous ice."""


def draw_colour(rng: np.random.Generator, cycles: Tensor, ctf: Tensor, plain: float = PLAIN) -> Tensor:
    """The power of one noise at each frequency; its mean over the particle's band is 1.

    Plain noise is white, with ice through the CTF and a little pink. The rest has any slope, from blue to more than the square
    of pink; half of it a share of white, some of it a band where it is strongest, as filtering leaves it; and it may fall with
    frequency, as a camera's transfer makes it.

    Args:
        cycles: spatial frequency, cycles per diameter of the particle.
        ctf: of the same shape.
        plain: part of the draws that is plain.
    """
    power = 1 + rng.uniform(0, 1.5) * ctf**2
    if rng.random() < plain:
        pink = rng.uniform(0, 1) * (rng.random() < 0.6)
        power = power + pink * (0.5 / (cycles + 0.16)) ** rng.uniform(0.5, 1.5)
        return _level(power * torch.exp(-((cycles / rng.uniform(5.5, 24)) ** 2)), cycles)
    power = power * slope(cycles, rng.uniform(-1, 2.5), math.exp(rng.uniform(math.log(0.02), math.log(0.5))))
    if rng.random() < 0.25:
        power = power * band(cycles, math.exp(rng.uniform(math.log(0.7), math.log(6))), rng.uniform(0.2, 1))
    if rng.random() < 0.5:
        power = _level(power, cycles) + math.exp(rng.uniform(math.log(0.03), 0))
    if rng.random() < 0.5:
        power = power * fall(cycles, math.exp(rng.uniform(math.log(2), math.log(16))), rng.uniform(1, 4))
    return _level(power, cycles)


def slope(cycles: Tensor, exponent: float, knee: float) -> Tensor:
    """Power that goes as frequency to the minus `exponent` (2: pink twice over; negative: blue), and is level below `knee`."""
    return (cycles**2 + knee**2) ** (-exponent / 2)


def band(cycles: Tensor, centre: float, width: float) -> Tensor:
    """Power highest at `centre` cycles per diameter and falls to both sides to a floor; `width` in natural logarithms."""
    return torch.exp(-((torch.log(cycles.clamp(min=1e-3) / centre) / width) ** 2) / 2) + 0.03


def fall(cycles: Tensor, half: float, steepness: float) -> Tensor:
    """1 at low frequency and 1/2 at `half` cycles per diameter; the greater `steepness`, the sharper."""
    return 1 / (1 + (cycles / half) ** (2 * steepness))


def shape_noise(rng: np.random.Generator, shape: tuple[int, int], power: Tensor) -> Tensor:
    """Noise (height, width) whose power spectrum is `power` (height, width // 2 + 1), white noise of 1 having variance 1."""
    white = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
    shaped: Tensor = torch.fft.irfft2(torch.fft.rfft2(white) * torch.sqrt(power), s=shape)
    return shaped


def _level(power: Tensor, cycles: Tensor) -> Tensor:
    low, high = PARTICLE_BAND
    return power / power[(cycles >= low) & (cycles <= high)].mean()
