"""Fields for training pickers: what their truth says is what they show."""

import numpy as np
import pytest

from magellon.simulation.picking_dirt import draw_dirt
from magellon.simulation.picking_scenes import draw_bare, draw_scene
from magellon.simulation.random_shapes import FAMILIES, draw_shape, random_rotations


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - {"phantom"}))
def test_shapes_are_centred_and_of_unit_diameter(family: str) -> None:
    shape = draw_shape(np.random.default_rng(3), family)
    assert shape.weights.min() >= 0
    assert shape.weights.sum() == pytest.approx(1, abs=1e-4)
    # A part of the points may be left out after centring.
    assert np.abs(shape.weights @ shape.points).max() < 0.05
    assert 0.42 < np.linalg.norm(shape.points, axis=1).max() <= 0.5 + 1e-6


def test_no_shape_is_like_another() -> None:
    first, second = (draw_shape(np.random.default_rng(seed), "globular") for seed in (1, 2))
    assert not np.array_equal(first.points, second.points)


def test_rotations_are_rotations() -> None:
    rotations = random_rotations(np.random.default_rng(0), 200)
    assert np.allclose(rotations @ np.swapaxes(rotations, 1, 2), np.eye(3), atol=1e-12)
    assert np.allclose(np.linalg.det(rotations), 1)
    assert np.abs(rotations.mean(axis=0)).max() < 0.2


def find_scene(wanted, limit: int = 60):
    """The first field that is as wanted."""
    for seed in range(limit):
        scene = draw_scene(np.random.default_rng([11, seed]), 96)
        if wanted(scene):
            return scene
    raise AssertionError("no such field")


def test_particles_are_dark_where_the_truth_says() -> None:
    scene = find_scene(lambda scene: scene.snr > 2.5 and len(scene.centres) > 8 and not scene.dirt.any())
    inside = scene.centres[((scene.centres > 3) & (scene.centres < 92)).all(axis=1)].round().astype(int)
    smooth = sum(np.roll(scene.image, (y, x), (0, 1)) for y in range(-2, 3) for x in range(-2, 3)) / 25
    # A defocused particle has a dark middle or a dark ring: it differs from what is around it either way.
    spread = np.std(smooth)
    assert np.mean(np.abs(smooth[inside[:, 0], inside[:, 1]] - np.median(smooth))) > 0.8 * spread


def test_nothing_is_to_be_picked_on_dirt() -> None:
    scene = find_scene(lambda scene: scene.dirt.mean() > 0.15 and len(scene.centres) > 3)
    inside = scene.centres[((scene.centres >= 0) & (scene.centres < 95)).all(axis=1)].round().astype(int)
    assert not scene.dirt[inside[:, 0], inside[:, 1]].any()


def test_the_same_seed_gives_the_same_field() -> None:
    first, second = (draw_scene(np.random.default_rng(9), 64) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.centres, second.centres)
    assert np.isfinite(first.image).all()


def test_sparse_fields_hold_fewer_particles() -> None:
    usual, sparse = (
        sum(len(draw_scene(np.random.default_rng([8, seed]), 48, sparse=share).centres) for seed in range(30))
        for share in (0.0, 1.0)
    )
    assert 0 < sparse < 0.75 * usual


def test_bare_fields_are_noise_of_many_colours() -> None:
    scenes = [draw_bare(np.random.default_rng([7, seed]), 64) for seed in range(30)]
    assert not any(len(scene.centres) or len(scene.doubtful) or scene.dirt.any() or scene.snr for scene in scenes)
    # Neighbouring cells are alike in pink noise, unlike in blue, neither in white.
    alike = [np.corrcoef(scene.image[:, 1:].ravel(), scene.image[:, :-1].ravel())[0, 1] for scene in scenes]
    assert min(alike) < -0.05
    assert max(alike) > 0.6
    assert np.median(np.diff(np.sort(alike))) < 0.1


def test_dirt_is_often_absent() -> None:
    masks = [draw_dirt(np.random.default_rng([5, seed]), 64, 16.0).mask.mean() for seed in range(40)]
    assert 0.15 < np.mean([mask == 0 for mask in masks]) < 0.8
    assert max(masks) > 0.2
