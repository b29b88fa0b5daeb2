"""Edges pull circles and squares into place."""

import numpy as np
import pytest
import torch

from magellon.algorithms.targets.edges import measure_angle, refine_circles, refine_squares
from magellon.simulation.grids import AtlasScene, CameraSettings, GridLattice, HoleScene, render_atlas, render_holes

NOISY = CameraSettings(dose=60.0, bits=16)


@pytest.mark.parametrize(("pitch", "diameter"), [(24.0, 11.0), (90.0, 44.0), (260.0, 120.0)])
def test_circles_move_onto_the_holes(pitch: float, diameter: float) -> None:
    rng = np.random.default_rng(1)
    lattice = GridLattice.make((0.6 * pitch, 0.6 * pitch), pitch, 5.0)
    side = int(3.5 * pitch)
    image, truth = render_holes(HoleScene((side, side), lattice, diameter, film=0.4, debris=0.0, camera=NOISY))
    off = 0.12 * diameter * rng.standard_normal((len(truth.centres), 2))
    start = truth.centres + np.clip(off, -0.15 * diameter, 0.15 * diameter)
    guess = np.full(len(start), 0.9 * diameter / 2, np.float32)
    x, y, radius = refine_circles(torch.from_numpy(image), start[:, 0], start[:, 1], guess)
    error = np.hypot(x - truth.centres[:, 0], y - truth.centres[:, 1]) / diameter
    assert np.median(np.hypot(*(start - truth.centres).T)) / diameter > 0.07
    assert np.median(error) < 0.03
    assert np.median(radius / truth.radius) == pytest.approx(1, abs=0.06)


def test_squares_move_onto_the_windows() -> None:
    rng = np.random.default_rng(2)
    lattice = GridLattice.make((40.0, 30.0), 60.0, 25.0)
    scene = AtlasScene((320, 320), lattice, 42.0, kinds=(1, 0, 0, 0, 0, 0), debris=0.0, camera=NOISY)
    image, truth = render_atlas(scene)
    inner = ((truth.centres > 30) & (truth.centres < 290)).all(1)
    centres = truth.centres[inner]
    start = centres + rng.uniform(-4, 4, centres.shape)
    angle = np.full(len(start), 25.0, np.float32)
    x, y, side = refine_squares(torch.from_numpy(image), start[:, 0], start[:, 1], np.full(len(start), 38.0), angle)
    assert np.median(np.hypot(x - centres[:, 0], y - centres[:, 1])) < 0.7
    assert np.median(side) == pytest.approx(42, rel=0.04)


@pytest.mark.parametrize("angle", [-40.0, 0.0, 12.0, 44.0])
def test_angle_of_a_few_squares(angle: float) -> None:
    lattice = GridLattice.make((70.0, 60.0), 110.0, angle)
    scene = AtlasScene((220, 240), lattice, 75.0, kinds=(1, 0, 0, 0, 0, 0), camera=NOISY)
    image, truth = render_atlas(scene)
    found, sureness = measure_angle(torch.from_numpy(image), truth.centres[:, 0], truth.centres[:, 1], truth.side)
    assert sureness > 0.2
    assert (found - angle + 45) % 90 - 45 == pytest.approx(0, abs=1.5)


def test_nothing_moves_without_edges() -> None:
    image = torch.full((50, 60), 3.0)
    x = np.array([10.0, 55.0], np.float32)
    for result in (refine_circles(image, x, x - 5, x * 0 + 8), refine_squares(image, x, x - 5, x * 0 + 16, x * 0)):
        np.testing.assert_allclose(result[0], x, atol=1e-4)
        np.testing.assert_allclose(result[1], x - 5, atol=1e-4)
