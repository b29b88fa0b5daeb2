"""The lattice is found from centres alone: any pitch, angle and symmetry, with gaps, strays and errors."""

import math

import numpy as np
import pytest

from magellon.algorithms.targets.lattice import fit_lattice


def place(pitch: float, angle: float, other: float, count: int = 7) -> np.ndarray:
    i, j = (each.ravel() for each in np.meshgrid(np.arange(count), np.arange(count)))
    vectors = [[math.cos(math.radians(turn)), math.sin(math.radians(turn))] for turn in (angle, angle + other)]
    points: np.ndarray = 100 + pitch * (np.stack([i, j], axis=1) @ np.array(vectors))
    return points


@pytest.mark.parametrize("other", [90, 60])
@pytest.mark.parametrize(("pitch", "angle"), [(11.0, 0.0), (40.0, 33.0), (260.0, 71.0), (25.0, 89.0)])
def test_pitch_and_angle(pitch: float, angle: float, other: float) -> None:
    rng = np.random.default_rng(3)
    points = place(pitch, angle, other)
    kept = rng.random(len(points)) < 0.8
    points = points[kept] + rng.normal(0, 0.03 * pitch, (int(kept.sum()), 2))
    strays = rng.uniform(points.min(0), points.max(0), (4, 2))
    lattice = fit_lattice(np.concatenate([points, strays]), np.ones(len(points) + 4))
    assert lattice is not None
    assert lattice.pitch == pytest.approx(pitch, rel=0.01)
    symmetry = 90 if other == 90 else 60
    assert (lattice.angle - angle + symmetry / 2) % symmetry - symmetry / 2 == pytest.approx(0, abs=0.7)
    assert abs(lattice.angle) <= symmetry / 2 + 0.7
    _, distance = lattice.locate(points)
    assert distance.max() < 0.15 * pitch


def test_a_bent_lattice_is_followed() -> None:
    points = place(30.0, 10.0, 90, count=12)
    middle = points.mean(0)
    bent = points + 2e-4 * (points - middle) * np.abs(points - middle)
    lattice = fit_lattice(bent, np.ones(len(bent)))
    assert lattice is not None
    index, _ = lattice.locate(bent)
    assert len(np.unique(index, axis=0)) == len(bent)


def test_no_lattice_where_there_is_none() -> None:
    rng = np.random.default_rng(5)
    assert fit_lattice(rng.uniform(0, 1000, (40, 2)), np.ones(40)) is None
    assert fit_lattice(np.zeros((0, 2)), np.zeros(0)) is None
    line = np.stack([np.arange(20) * 10.0, np.arange(20) * 10.0], axis=1)
    assert fit_lattice(line, np.ones(20)) is None


def test_weak_points_do_not_count_more() -> None:
    points = place(50.0, 20.0, 90, count=3)
    assert fit_lattice(points[:4], np.ones(4)) is None
    assert fit_lattice(points, np.ones(9)) is not None


def test_a_lattice_of_thousands_is_found() -> None:
    i, j = (each.ravel() for each in np.meshgrid(np.arange(50), np.arange(50)))
    points = np.stack([i * 11.0 + 0.8 * j, j * 12.5 - 0.8 * i], axis=1) + np.random.default_rng(5).normal(0, 0.2, (2500, 2))
    lattice = fit_lattice(points, np.ones(2500))
    assert lattice is not None
    assert sorted((float(np.hypot(*lattice.a)), float(np.hypot(*lattice.b)))) == pytest.approx([11.03, 12.53], abs=0.02)
