"""Pairs of exposures: what is common to both, what is not, and what of it is ice."""

import numpy as np
import pytest
import torch

from magellon.algorithms.fourier import rfft_frequencies
from magellon.simulation.exposures import draw_pair
from magellon.simulation.silhouettes import Silhouette

DISC = 60 * torch.sigmoid(
    (9 - torch.hypot(*torch.meshgrid(torch.arange(32) - 16.0, torch.arange(32) - 16.0, indexing="ij"))) / 0.7
)
BANK = [[Silhouette(DISC, 72.0)]]


def keep_fine(image: torch.Tensor, pixel_size: float) -> torch.Tensor:
    """Between 30 and 10 Å, where the slopes of the ice show next to nothing."""
    k_row, k_column = rfft_frequencies((image.shape[0], image.shape[1]), pixel_size)
    k = torch.sqrt(k_row**2 + k_column**2)
    fine: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(image) * ((k > 1 / 30) & (k < 1 / 10)), s=image.shape)
    return fine


def test_only_the_electrons_differ() -> None:
    pair = draw_pair(np.random.default_rng(3), BANK, 192, 4.0, (20, 20))
    noises = torch.stack([(each - pair.mean).flatten() for each in (pair.first, pair.second)])
    assert abs(float(torch.corrcoef(noises)[0, 1])) < 0.02
    assert float(noises.std()) < 1.1


def test_the_grain_of_the_ice_is_in_the_mean_and_holds_no_particles() -> None:
    """As strong as in the mean, but where the field is carbon or a crystal nearly all over, whose phases saturate."""
    strengths = []
    for seed in range(8):
        pair = draw_pair(np.random.default_rng(seed), BANK, 192, 4.0, (20, 20))
        mean, particles, grain = (keep_fine(each, 4.0).flatten() for each in (pair.mean, pair.particles, pair.grain))
        assert abs(float(particles @ grain)) < 0.1 * float(grain @ grain)
        strengths.append(float((mean - particles) @ grain / (grain @ grain)))
    assert min(strengths) > 0.75
    assert np.median(strengths) == pytest.approx(1, abs=0.05)
