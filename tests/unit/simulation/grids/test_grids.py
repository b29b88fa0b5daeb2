"""Simulated grids: the picture shows what the truth says, and a seed says all of it."""

from dataclasses import replace

import numpy as np

from magellon.simulation.grids import (
    HOLE_KINDS,
    SQUARE_KINDS,
    AtlasScene,
    CameraSettings,
    GridLattice,
    HoleScene,
    draw_atlas_scene,
    draw_hole_scene,
    render_atlas,
    render_holes,
)
from magellon.simulation.grids.camera import record_image

CLEAN = CameraSettings(dose=1e4, bits=16, blur=0.0)


def mean_inside(image: np.ndarray, x: float, y: float, reach: int) -> float:
    column, row = round(float(x)), round(float(y))
    return float(image[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1].mean())


def test_holes_are_bright_where_the_truth_has_them() -> None:
    lattice = GridLattice.make((20.3, 11.8), 32.0, 17.0)
    scene = HoleScene((200, 240), lattice, 16.0, film=0.8, ice=0.1, empty=0.0, missing=0.0, debris=0.0, camera=CLEAN)
    image, truth = render_holes(scene)
    assert image.shape == (200, 240)
    assert image.dtype == np.float32
    assert 40 <= len(truth.centres) <= 55
    inner = (truth.centres > 20).all(1) & (truth.centres[:, 0] < 220) & (truth.centres[:, 1] < 180)
    inside = [mean_inside(image, x, y, 3) for x, y in truth.centres[inner]]
    between = [mean_inside(image, x + lattice.a[0] / 2, y + lattice.a[1] / 2, 1) for x, y in truth.centres[inner]]
    assert min(inside) > max(between)
    assert truth.visible.all()
    assert truth.pitch == 32.0
    assert abs(truth.angle - 17.0) < 1e-6
    np.testing.assert_allclose(truth.radius, 8.0, rtol=0.15)


def test_empty_and_filled_holes_are_told_apart() -> None:
    lattice = GridLattice.make((20.0, 20.0), 40.0, 0.0)
    scene = HoleScene((400, 400), lattice, 20.0, film=1.0, ice=0.15, empty=0.5, missing=0.1, debris=0.0, camera=CLEAN)
    image, truth = render_holes(scene)
    level = np.array([mean_inside(image, x, y, 4) for x, y in truth.centres])
    good, empty = (truth.kind == HOLE_KINDS.index(kind) for kind in ("good", "empty"))
    assert good.sum() > 15
    assert empty.sum() > 15
    assert level[empty].min() > level[good].max()
    assert len(truth.centres) < 100


def test_squares_stand_out_from_bars_and_corners_lie_on_their_edges() -> None:
    lattice = GridLattice.make((30.0, 25.0), 60.0, 30.0)
    scene = AtlasScene((300, 300), lattice, 42.0, kinds=(1, 0, 0, 0, 0, 0), debris=0.0, camera=CLEAN)
    image, truth = render_atlas(scene)
    assert (truth.kind == SQUARE_KINDS.index("good")).all()
    inside = [mean_inside(image, x, y, 5) for x, y in truth.centres]
    crossings = lattice.place(np.array([[i, j] for i in range(1, 4) for j in range(3)])) + np.array([lattice.a]) / 2
    kept = (crossings > 5).all(1) & (crossings < 295).all(1)
    assert min(inside) > 3 * max(mean_inside(image, x, y, 2) for x, y in crossings[kept])
    np.testing.assert_allclose(np.hypot(*(truth.corners[:, 1] - truth.corners[:, 0]).T), 42.0, rtol=1e-4)
    np.testing.assert_allclose(truth.corners.mean(1), truth.centres, atol=1e-3)
    assert abs(truth.angle - 30.0) < 1e-6


def test_a_seed_says_all() -> None:
    for draw, render in ((draw_hole_scene, render_holes), (draw_atlas_scene, render_atlas)):
        scenes = [draw(np.random.default_rng(4), (96, 128), (12, 30)) for _ in range(2)]
        assert scenes[0] == scenes[1]
        first, second = (render(scene)[0] for scene in scenes)
        np.testing.assert_array_equal(first, second)
        other, _ = render(replace(scenes[0], seed=scenes[0].seed + 1))
        assert not np.array_equal(first, other)


def test_any_scene_can_be_rendered() -> None:
    rng = np.random.default_rng(9)
    for _ in range(12):
        shape = (int(rng.integers(20, 100)), int(rng.integers(20, 100)))
        image, holes = render_holes(draw_hole_scene(rng, shape, (6, 80)))
        assert np.isfinite(image).all()
        assert len(holes.centres) == len(holes.visible) == len(holes.kind)
        image, squares = render_atlas(draw_atlas_scene(rng, shape, (8, 80)))
        assert np.isfinite(image).all()
        assert image.shape == shape
        assert squares.corners.shape == (len(squares.centres), 4, 2)


def test_a_bright_exposure_fits_into_sixteen_bits() -> None:
    transmission = np.linspace(0.1, 1, 64, dtype=np.float32)[:, None].repeat(64, axis=1)
    for seed in range(8):
        image = record_image(transmission, CameraSettings(dose=10_000, bits=16, seed=seed))
        assert image.max() < 32_767
        assert image[-1].mean() > 2 * image[20].mean()
