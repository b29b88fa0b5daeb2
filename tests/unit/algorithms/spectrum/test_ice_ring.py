"""The ice ring is measured against noise with a ring of known strength."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from magellon.algorithms.spectrum import measure_ice, polar_average_image
from magellon.io.mrc import read_mrc

SIDE, PIXEL = 768, 0.9


def make_noise(strength: float, ring: tuple[float, float], pixel_size: float = PIXEL, slope: float = 0.0) -> Tensor:
    """Noise whose power is 1 + strength between two resolutions in Å, and falls as exp(-slope k) everywhere."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.fft.rfft2(torch.randn(SIDE, SIDE, generator=generator))
    k = torch.hypot(torch.fft.fftfreq(SIDE)[:, None], torch.fft.rfftfreq(SIDE)[None, :]) / pixel_size
    power = torch.where((k > 1 / ring[0]) & (k < 1 / ring[1]), 1.0 + strength, 1.0) * torch.exp(-slope * k)
    return torch.fft.irfft2(noise * power.sqrt(), s=(SIDE, SIDE))


def measure(image: Tensor, pixel_size: float = PIXEL) -> float | None:
    return measure_ice(polar_average_image(image, pixel_size))


def test_no_ice_is_nearly_nothing() -> None:
    found = measure(make_noise(0, (4, 3.4), slope=8))
    assert found is not None
    assert found < 0.04


@pytest.mark.parametrize("strength", [0.2, 1.0, 6.0])
def test_a_halo_has_its_strength(strength: float) -> None:
    found = measure(make_noise(strength, (4.2, 3.3), slope=8))
    assert found == pytest.approx(strength, abs=0.04 * (1 + strength))


@pytest.mark.parametrize("resolution", [3.9, 3.67, 3.44])
def test_a_thin_ring_of_crystals_is_seen_wherever_it_lies(resolution: float) -> None:
    found = measure(make_noise(4, (resolution * 1.012, resolution / 1.012)))
    assert found == pytest.approx(4, rel=0.1)


def test_spots_of_few_crystals_count() -> None:
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    image = make_noise(0, (4, 3.4))
    for angle in (0.3, 1.4, 2.5):
        image = image + 0.3 * torch.cos(2 * math.pi * PIXEL / 3.67 * (x * math.cos(angle) + y * math.sin(angle)))
    found = measure(image)
    assert found is not None
    assert found > 1


@pytest.mark.parametrize("pixel_size", [1.6, 3.0])
def test_pixels_too_large_tell_nothing(pixel_size: float) -> None:
    assert measure(make_noise(0, (4, 3.4), pixel_size), pixel_size) is None


def test_the_water_ring_of_a_real_micrograph(real_data: Path) -> None:
    image = torch.from_numpy(np.ascontiguousarray(read_mrc(real_data / "micrographs/fei-extended.mrc"), dtype=np.float32))
    found = measure(image[:2048, :2048], 0.85378)
    assert found is not None
    assert 0.15 < found < 0.35
