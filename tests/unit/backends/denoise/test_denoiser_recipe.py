"""What the denoiser is asked for: the mean exposure with less grain and stronger detail of particles."""

import math

import numpy as np
import pytest
import torch
from training.denoiser import EXPOSURE, GRAIN, SIZE, draw_batch, emphasise

from magellon.algorithms.denoising.noise import measure_level
from magellon.algorithms.denoising.scale import PIXEL_SIZE
from magellon.simulation.exposures import draw_pair
from magellon.simulation.silhouettes import Silhouette


@pytest.mark.parametrize(("period", "more"), [(192.0, 0.0), (40.0, 0.5), (16.0, 1.0)])
def test_fine_detail_is_doubled_and_coarse_left(period: float, more: float) -> None:
    cycles = round(SIZE * PIXEL_SIZE / period)
    wave = torch.sin(2 * math.pi * cycles * torch.arange(SIZE) / SIZE)[None].repeat(SIZE, 1)
    assert torch.allclose(emphasise(wave), more * wave, atol=0.05)


def test_targets_are_made_of_what_a_simulation_knows() -> None:
    bank = [[Silhouette(100 * torch.ones(24, 24), 96.0)]]
    inputs, targets = draw_batch(np.random.default_rng(3), bank, noisy=False)
    pair = draw_pair(np.random.default_rng(3), bank, SIZE, PIXEL_SIZE, EXPOSURE)
    wanted = pair.mean - (1 - GRAIN) * pair.grain + emphasise(pair.particles)
    for number, image in enumerate((pair.first, pair.second)):
        level = measure_level(image, pair.limit)
        assert torch.equal(inputs[number, 0], level.standardise(image))
        assert torch.allclose(targets[number, 0], level.standardise(wanted), atol=1e-4)
