"""Micrographs with an exactly known CTF: Gaussian noise whose power is background + envelope * CTF²."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import CtfModel, ctf_rfft


@dataclass(frozen=True)
class Rings:
    """How strong they are and what else is in the spectrum."""

    amplitude: float = 0.4
    b_factor: float = 60.0
    ice: float = 0.03
    """Of the water ring at 3.75 Å."""
    pixel_falloff: float = 0.0
    """Of noise and signal alike towards the edges of the square spectrum, as a detector with large pixels gives it."""


Maker = Callable[..., Tensor]


def draw_micrograph(
    model: CtfModel, pixel_size: float, shape: tuple[int, int] = (1024, 1024), rings: Rings | None = None, seed: int = 0
) -> Tensor:
    rings = rings or Rings()
    k_row, k_column = rfft_frequencies(shape, pixel_size)
    k = torch.sqrt(k_row**2 + k_column**2)
    background = 1 + 0.5 * torch.exp(-((k / 0.05) ** 2)) + 0.1 * torch.exp(-((k / 0.2) ** 2))
    envelope = rings.amplitude * torch.exp(-rings.b_factor / 2 * k**2) * (1 + 6 * torch.exp(-((k / 0.03) ** 2)))
    envelope = envelope + rings.ice * torch.exp(-(((k - 1 / 3.75) / 0.025) ** 2) / 2)
    power = background + envelope * ctf_rfft(model, shape, pixel_size) ** 2
    squareness = torch.sinc(k_row * pixel_size) ** 2 * torch.sinc(k_column * pixel_size) ** 2
    power = power * squareness**rings.pixel_falloff
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    image: Tensor = torch.fft.irfft2(torch.fft.rfft2(noise) * power.sqrt(), s=shape)
    return image


@pytest.fixture(scope="session")
def micrograph() -> Maker:
    return draw_micrograph


@pytest.fixture(scope="session")
def ring_strength() -> type[Rings]:
    return Rings
