"""Thon rings: found where there are some, and denoising with them is closer to the truth at fine detail."""

import math

import pytest
import torch

from magellon.algorithms.ctf import Microscope
from magellon.algorithms.denoising import ThonRings, denoise_image, find_rings
from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import CtfModel, ctf_rfft

SIZE, PIXEL_SIZE = 512, 1.6
MODEL = CtfModel(14200.0, 13800.0, 30.0)


def make_micrograph(seed: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A thin specimen with power at every frequency, without and with noise of so many times its spread."""
    generator = torch.Generator().manual_seed(seed)
    specimen, white = torch.randn(2, SIZE, SIZE, generator=generator)
    truth = torch.fft.irfft2(torch.fft.rfft2(specimen) * ctf_rfft(MODEL, (SIZE, SIZE), PIXEL_SIZE), s=(SIZE, SIZE))
    return truth, truth + noise * truth.std() * white


def pick_band(image: torch.Tensor, coarsest: float, finest: float) -> torch.Tensor:
    """What an image holds between two resolutions in Å, as a transform."""
    k_row, k_column = rfft_frequencies((SIZE, SIZE), PIXEL_SIZE)
    k = torch.sqrt(k_row**2 + k_column**2)
    return torch.fft.rfft2(image)[(k >= 1 / coarsest) & (k < 1 / finest)]


def correlate(first: torch.Tensor, second: torch.Tensor) -> float:
    products = [(a * b.conj()).real.sum() for a, b in ((first, second), (first, first), (second, second))]
    return float(products[0] / (products[1] * products[2]).sqrt())


def test_weights_follow_the_ctf_at_fine_detail_and_leave_coarse() -> None:
    rings = ThonRings(MODEL, phase_error=0.0)
    k_row, k_column = rfft_frequencies((SIZE, SIZE), PIXEL_SIZE)
    k, squared = torch.sqrt(k_row**2 + k_column**2), ctf_rfft(MODEL, (SIZE, SIZE), PIXEL_SIZE) ** 2
    weights = rings.weigh(k_row, k_column)
    fine = (k > 1 / 8) & (k < 1 / 4)
    assert float((weights - 2 * squared)[fine].abs().max()) < 0.06
    assert float(weights[fine].mean()) == pytest.approx(1, abs=0.02)
    assert torch.equal(weights[k < 1 / 40], torch.ones_like(weights)[k < 1 / 40])
    near_zero = squared < 1e-3
    assert float(weights[near_zero & (k > 1 / 20)].max()) < 0.05


def test_an_unknown_phase_weighs_nothing() -> None:
    frequencies = rfft_frequencies((SIZE, SIZE), PIXEL_SIZE)
    weights = ThonRings(MODEL, phase_error=1e4).weigh(*frequencies)
    fine = frequencies[0] ** 2 + frequencies[1] ** 2 > 1 / 20**2
    assert torch.allclose(weights[fine], torch.ones(()))


def test_rings_are_found_to_a_fraction_of_one() -> None:
    rings = find_rings(make_micrograph(1, 4.0)[1], PIXEL_SIZE, Microscope())
    assert rings is not None
    frequency = 1 / 6
    mean = float(rings.model.defocus_u + rings.model.defocus_v) / 2
    phase = math.pi * Microscope().wavelength * frequency**2
    assert abs(mean - 14000) * phase < 0.3
    assert rings.phase_error * frequency**2 < 0.3


@pytest.mark.parametrize(("side", "pixel_size"), [(512, 1.6), (90, 1.6), (512, 8.0)])
def test_where_there_are_none_none_are_found(side: int, pixel_size: float) -> None:
    noise = torch.randn(side, side, generator=torch.Generator().manual_seed(2))
    assert find_rings(noise, pixel_size, Microscope()) is None


@pytest.mark.parametrize("band", [(20.0, 8.5), (7.5, 6.0)])
def test_fine_detail_is_closer_to_the_truth(band: tuple[float, float]) -> None:
    """On either side of the network's limit, whatever the network says.

    Where noise is much stronger than the signal, weights that go as its power gain sqrt(<ctf^4>) / <ctf²> = sqrt(1.5).
    """
    for seed in (3, 4):
        truth, noisy = make_micrograph(seed, 4.0)
        without, with_rings = (
            correlate(
                pick_band(denoise_image(noisy, PIXEL_SIZE, lambda tile: tile, microscope=each), *band), pick_band(truth, *band)
            )
            for each in (None, Microscope())
        )
        assert with_rings > 1.12 * without


def test_a_micrograph_without_rings_comes_out_as_without_a_microscope() -> None:
    noise = torch.randn(256, 256, generator=torch.Generator().manual_seed(5))
    first, second = (denoise_image(noise, 1.0, lambda tile: tile, microscope=each) for each in (None, Microscope()))
    assert torch.equal(first, second)
