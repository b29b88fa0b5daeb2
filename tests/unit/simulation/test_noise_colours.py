"""Colours of noise: spectra are as asked, and span what pickers are to know."""

import numpy as np
import pytest
import torch

from magellon.algorithms.fourier import rfft_frequencies
from magellon.simulation.noise_colours import PARTICLE_BAND, band, draw_colour, fall, shape_noise, slope

SIDE, DIAMETER = 256, 16
NO_CTF = torch.zeros(SIDE, SIDE // 2 + 1)


def cycles_of(side: int = SIDE) -> torch.Tensor:
    k_row, k_column = rfft_frequencies((side, side))
    return torch.sqrt(k_row**2 + k_column**2) * DIAMETER


def measure_power(image: torch.Tensor, low: float, high: float) -> float:
    """Mean power between two frequencies (cycles per diameter), white noise of variance 1 having 1."""
    cycles = cycles_of(len(image))
    ring = (cycles >= low) & (cycles < high)
    return float(torch.fft.rfft2(image).abs().square()[ring].mean()) / image.numel()


def measure_slope(power: torch.Tensor, low: float, high: float) -> float:
    """The power goes as frequency to the minus this."""
    cycles = cycles_of()
    ring = (cycles >= low) & (cycles <= high)
    return -float(np.polyfit(np.log(cycles[ring].numpy()), np.log(power[ring].numpy()), 1)[0])


@pytest.mark.parametrize("exponent", [-1.0, 0.0, 1.0, 2.5])
def test_noise_has_the_slope_that_was_asked_for(exponent: float) -> None:
    noise = shape_noise(np.random.default_rng(1), (SIDE, SIDE), slope(cycles_of(), exponent, 0.05))
    places = np.array([0.5, 1.0, 2.0, 4.0])
    powers = [measure_power(noise, 0.8 * place, 1.2 * place) for place in places]
    assert -np.polyfit(np.log(places), np.log(powers), 1)[0] == pytest.approx(exponent, abs=0.15)
    # Below the knee it is level.
    assert float(slope(torch.tensor(0.0), exponent, 0.05)) == pytest.approx(0.05**-exponent)


def test_white_noise_has_variance_one() -> None:
    noise = shape_noise(np.random.default_rng(2), (SIDE, SIDE), torch.ones_like(NO_CTF))
    assert float(noise.var()) == pytest.approx(1, abs=0.02)


def test_a_band_is_strongest_at_its_centre_and_a_fall_is_half_where_it_says() -> None:
    cycles = torch.tensor([0.5, 2.0, 8.0])
    assert band(cycles, 2.0, 0.5).argmax() == 1
    assert float(band(cycles, 2.0, 0.5)[0]) < 0.2
    assert float(fall(torch.tensor(3.0), 3.0, 2.5)) == pytest.approx(0.5)
    assert float(fall(torch.tensor(0.0), 3.0, 2.5)) == 1
    soft, sharp = (float(fall(torch.tensor(6.0), 3.0, steepness)) for steepness in (1.0, 4.0))
    assert sharp < 0.01 < 0.1 < soft


def test_all_colours_are_equally_strong_where_particles_are_seen() -> None:
    cycles = cycles_of()
    inside = (cycles >= PARTICLE_BAND[0]) & (cycles <= PARTICLE_BAND[1])
    for seed in range(40):
        power = draw_colour(np.random.default_rng([3, seed]), cycles, torch.sin(cycles**2))
        assert float(power[inside].mean()) == pytest.approx(1, rel=1e-4)
        assert bool(torch.isfinite(power).all())
        assert float(power.min()) >= 0


def test_plain_noise_is_nearly_white_and_the_rest_of_all_colours() -> None:
    cycles = cycles_of()

    def draw_slopes(plain: float) -> np.ndarray:
        powers = [draw_colour(np.random.default_rng([4, seed]), cycles, NO_CTF, plain) for seed in range(60)]
        return np.array([measure_slope(power, 0.5, 3) for power in powers])

    plain, wild = draw_slopes(1.0), draw_slopes(0.0)
    assert -0.1 < plain.min() <= plain.max() < 0.8
    assert wild.min() < -0.5
    assert wild.max() > 1.5
    assert 0.2 < np.mean(wild > 0.8) < 0.8


def test_ice_shows_the_ctf_in_the_noise() -> None:
    cycles = cycles_of()
    ctf = (torch.floor(cycles) % 2).clamp(0, 1)
    shares = []
    for seed in range(20):
        power = draw_colour(np.random.default_rng([5, seed]), cycles, ctf, plain=1.0)
        shares.append(float(power[(cycles > 1) & (cycles < 2)].mean() / power[(cycles > 2) & (cycles < 3)].mean()))
    assert min(shares) > 1
    assert max(shares) > 1.8
