"""Motion with the statistics of real movies."""

import numpy as np
import pytest

from magellon.simulation.motion_model import field_points, sample_motion
from magellon.simulation.spec import MotionRanges

SHAPE = (2048, 1024)


def test_motion_has_the_statistics_of_real_movies() -> None:
    motions = [sample_motion(np.random.default_rng(seed), MotionRanges(), SHAPE, 24, 1.277) for seed in range(60)]
    net = np.array([np.linalg.norm(motion.global_shifts[-1]) for motion in motions])
    assert net.min() > 7
    assert net.max() < 22
    steps = np.mean([np.linalg.norm(np.diff(motion.global_shifts, axis=0), axis=1) for motion in motions], axis=0)
    assert 1.5 < steps[:3].sum() < 4.5
    assert 0.25 < steps[-5:].mean() < 0.65
    points = field_points(SHAPE)
    local = [np.linalg.norm(motion.local(points, 23), axis=1).max() for motion in motions]
    assert min(local) > 3.4
    assert max(local) < 10.1


def test_local_motion_starts_at_zero_averages_to_zero_and_is_smooth() -> None:
    motion = sample_motion(np.random.default_rng(2), MotionRanges(), SHAPE, 24, 1.0)
    assert np.allclose(motion.local(field_points(SHAPE), 0), 0)
    dense = field_points(SHAPE, 201)
    assert np.abs(motion.local(dense, 23).mean(axis=0)).max() < 0.05
    grid = motion.local(dense, 23).reshape(201, 201, 2)
    assert np.abs(np.diff(grid, axis=0)).max() < 0.5
    assert np.array_equal(motion.global_shifts[0], [0, 0])


def test_displacement_is_global_plus_local() -> None:
    motion = sample_motion(np.random.default_rng(2), MotionRanges(), SHAPE, 5, 1.0)
    points = np.array([[3.0, 8.0], [1000.0, 2000.0]])
    assert motion.displacement(points, 4) == pytest.approx(motion.global_shifts[4] + motion.local(points, 4))


def test_one_frame_does_not_move() -> None:
    motion = sample_motion(np.random.default_rng(2), MotionRanges(), SHAPE, 1, 1.0)
    assert motion.global_shifts.shape == (1, 2)
    assert not motion.global_shifts.any()
    assert not motion.local(field_points(SHAPE), 0).any()
