"""Periodograms and smooth spectra."""

import pytest
import torch

from magellon.algorithms.spectrum import centred_power, periodogram, taper_edges
from magellon.algorithms.spectrum.display import centred_radius, crop_spectrum, flatten_spectrum


def wave(shape: tuple[int, int], cycles: tuple[float, float]) -> torch.Tensor:
    """A cosine of (y, x) cycles per pixel."""
    y, x = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    return torch.cos(2 * torch.pi * (cycles[0] * y + cycles[1] * x))


def test_white_noise_has_its_variance() -> None:
    image = 5 + 3 * torch.randn(512, 384, generator=torch.Generator().manual_seed(1))
    assert float(periodogram(image).mean()) == pytest.approx(9, rel=0.03)


def test_taper_removes_the_mean() -> None:
    assert float(taper_edges(torch.full((64, 64), 7.0)).abs().max()) == 0


@pytest.mark.parametrize("shape", [(512, 512), (400, 640), (513, 771)])
def test_centred_power_has_one_scale_for_both_axes(shape: tuple[int, int]) -> None:
    power = centred_power(periodogram(wave(shape, (0.125, -0.25))), shape, 256)
    assert power.shape == (256, 256)
    assert float(power.min()) >= 0
    peak = divmod(int(power[:, :120].argmax()), 120)
    assert peak == (128 + 32, 128 - 64)


def test_centred_power_is_point_symmetric_and_keeps_the_level() -> None:
    image = torch.randn(600, 500, generator=torch.Generator().manual_seed(2))
    power = centred_power(periodogram(image), (600, 500), 256)
    assert float(power.mean()) == pytest.approx(1, rel=0.05)
    torch.testing.assert_close(power[1:, 1:], power[1:, 1:].flip(0, 1), rtol=1e-3, atol=1e-3)


def test_a_small_image_gives_a_small_spectrum() -> None:
    assert centred_power(periodogram(torch.randn(101, 90)), (101, 90), 256).shape == (90, 90)


def test_crop_keeps_the_centre() -> None:
    power = torch.zeros(256, 256)
    power[128, 128] = 1
    cropped = crop_spectrum(power, 0.5)
    assert cropped.shape == (128, 128)
    assert float(cropped[64, 64]) == 1


def test_flattening_shows_rings_on_a_steep_background() -> None:
    """Rings of a few per cent on a background that falls a thousandfold."""
    radius = centred_radius(512)
    noise = 1 + 0.05 * torch.randn(512, 512, generator=torch.Generator().manual_seed(3))
    rings = torch.cos(radius**2 / 300)
    flat = flatten_spectrum(torch.exp(-radius / 40) * (1 + 0.1 * rings) * noise)
    middle = (radius > 30) & (radius < 140)
    correlation = torch.corrcoef(torch.stack([flat[middle].double(), rings[middle]]))[0, 1]
    assert correlation > 0.6
    assert float(flat.abs().median()) < 1
