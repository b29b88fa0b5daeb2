"""Vitreous ice."""

import math

import pytest
import torch

from magellon.algorithms.fourier import rfft_frequencies
from magellon.simulation.ice import BROWNIAN_MOTION, BrownianIce, ice_phase_spectrum, inelastic_path, water_structure_factor
from magellon.simulation.scattering import ice_potential, interaction_constant


def test_structure_factor_has_the_water_ring_and_vanishes_at_rest() -> None:
    k = torch.linspace(0, 0.8, 801)
    factor = water_structure_factor(k)
    assert float(factor[0]) < 0.1
    assert 1 / float(k[factor.argmax()]) == pytest.approx(3.7, abs=0.1)
    assert float(factor[-1]) == pytest.approx(1, abs=0.05)
    assert float(factor.min()) > 0


def test_constants_are_those_of_the_textbooks() -> None:
    assert interaction_constant(300) == pytest.approx(6.526e-4, rel=1e-3)
    assert interaction_constant(200) == pytest.approx(7.288e-4, rel=1e-3)
    assert 3.5 < ice_potential() < 5
    assert inelastic_path(200) < inelastic_path(300)


def test_ice_forgets_as_its_molecules_walk() -> None:
    """Correlation of frames n apart falls as exp(-(2 pi k)² 1.1 / 6 N); the power is that of a mean over the exposure."""
    shape, pixel_size, exposure = (256, 256), 1.2, 1.0
    k_row, k_column = rfft_frequencies(shape, pixel_size)
    k_squared = k_row**2 + k_column**2
    k = torch.sqrt(k_squared)
    ice = BrownianIce(torch.ones_like(k), k_squared, exposure, torch.Generator().manual_seed(1))
    frames = [ice.advance().clone() for _ in range(6)]
    for ring in (0.1, 0.2):
        near = (k > ring - 0.01) & (k < ring + 0.01)
        power = float(frames[0][near].abs().pow(2).mean())
        rate = (2 * math.pi * ring) ** 2 * BROWNIAN_MOTION / 6 * exposure
        assert power == pytest.approx(2 * (rate - 1 + math.exp(-rate)) / rate**2, rel=0.06)
        correlation = float((frames[1][near] * frames[5][near].conj()).real.mean()) / power
        assert correlation == pytest.approx(math.exp(-4 * rate), abs=0.08)


def test_thicker_ice_scatters_more() -> None:
    k = torch.tensor([0.05, 0.27])
    assert torch.allclose(ice_phase_spectrum(k, 600, 300), 2 * ice_phase_spectrum(k, 300, 300))
