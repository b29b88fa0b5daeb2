"""Polar averages."""

import math

import pytest
import torch

from magellon.algorithms.spectrum import centred_power, periodogram, polar_average_image, polar_average_spectrum


def test_a_wave_lands_in_its_bin() -> None:
    """Content that varies along x + y: direction 45°, from +x toward +y."""
    y, x = torch.meshgrid(torch.arange(400), torch.arange(600), indexing="ij")
    polar = polar_average_image(torch.cos(2 * math.pi * 0.1 * (x + y)), 2.0)
    ring, sector = divmod(int(polar.power.argmax()), polar.power.shape[1])
    assert float(polar.ring_k[ring]) == pytest.approx(0.1 * math.sqrt(2) / 2, rel=0.02)
    assert math.degrees(float(polar.theta[ring, sector])) == pytest.approx(45, abs=3)


def test_white_noise_is_flat_and_each_sample_counts_once() -> None:
    polar = polar_average_image(torch.randn(512, 512, generator=torch.Generator().manual_seed(0)), 1.0)
    level = float((polar.power * polar.count).sum() / polar.count.sum())
    assert level == pytest.approx(1, rel=0.02)
    # Half of the disc inside Nyquist, less the strips along the axes.
    assert float(polar.count.sum()) == pytest.approx(math.pi / 8 * 512**2, rel=0.03)


def test_scatter_of_the_bins_is_that_of_their_counts() -> None:
    polar = polar_average_image(torch.randn(1024, 1024, generator=torch.Generator().manual_seed(0)), 1.0)
    full = polar.count > 10
    scatter = ((polar.power - 1) ** 2 * polar.count)[full].mean()
    assert float(scatter) == pytest.approx(1, abs=0.12)


def test_a_spectrum_has_the_frequencies_of_its_image() -> None:
    y, x = torch.meshgrid(torch.arange(512), torch.arange(700), indexing="ij")
    image = torch.cos(2 * math.pi * (0.2 * x - 0.05 * y))
    direct = polar_average_image(image, 1.5)
    smooth = polar_average_spectrum(centred_power(periodogram(image), (512, 700), 256), 1.5)
    for polar in (direct, smooth):
        ring, sector = divmod(int(polar.power.argmax()), polar.power.shape[1])
        assert float(polar.ring_k[ring]) == pytest.approx(math.hypot(0.2, 0.05) / 1.5, rel=0.02)
        assert float(polar.theta[ring, sector]) == pytest.approx(math.atan2(-0.05, 0.2), abs=0.1)


def test_rings_can_be_chosen() -> None:
    polar = polar_average_image(torch.randn(256, 256), 1.0).rings(0.1, 0.3)
    assert float(polar.ring_k[0]) >= 0.1
    assert float(polar.ring_k[-1]) <= 0.3
    assert polar.power.shape[0] == len(polar.ring_k)
