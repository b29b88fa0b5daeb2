"""Scores of classifications that are known to be right, wrong, or wrong by a known amount."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from magellon.algorithms.fourier import rfft_shift
from magellon.simulation.class_scores import (
    ClassAssignment,
    adjusted_rand_index,
    ideal_classes,
    score_classes,
    shuffle_classes,
)
from magellon.simulation.class_truth import draw_true_average, true_resolutions
from magellon.simulation.particle_images import make_views
from magellon.simulation.particle_truth import ParticleSetTruth
from magellon.simulation.phantoms import build_phantom
from magellon.simulation.projection import euler_matrices
from magellon.simulation.symmetry import symmetry_operators
from magellon.simulation.view_groups import find_mean_view, view_angles

SYMMETRIES = ("C1", "D2")


def make_truth(count: int = 1600, junk: float = 0.25) -> ParticleSetTruth:
    rng = np.random.default_rng(5)
    kind = np.where(rng.random(count) < junk, "empty", "good")
    tilt = np.degrees(np.arccos(rng.uniform(-1, 1, count)))
    return ParticleSetTruth(
        kind, rng.integers(0, 2, count), rng.uniform(-180, 180, count), tilt, rng.uniform(-180, 180, count),
        rng.normal(0, 5, (count, 2)), np.zeros(count, dtype=np.int64),
    )  # fmt: skip


def displace(found: ClassAssignment, turns: np.ndarray, places: np.ndarray) -> ClassAssignment:
    """Another angle and centre for each class, which changes nothing about how good it is."""
    number = np.maximum(found.klass, 0)
    psi = found.psi + turns[number]
    radians, (x, y) = np.radians(psi), places[number].T
    moved = np.stack([x * np.cos(radians) + y * np.sin(radians), -x * np.sin(radians) + y * np.cos(radians)], axis=1)
    return replace(found, psi=psi, origin=found.origin + moved)


def test_the_ideal_partition_scores_as_the_geometry_says() -> None:
    truth = make_truth()
    found = ideal_classes(truth, 40, SYMMETRIES)
    scores = score_classes(found, truth, SYMMETRIES)
    # Twenty caps of equal area have a half angle of 26°, half of each within 18°; D2 leaves a quarter of the sphere.
    assert 10 < scores.spread < 18
    assert scores.protein_purity == scores.protein_index == scores.good_kept == scores.junk_removed == 1
    assert scores.classes_used >= 35
    assert scores.shift_error < 1e-6
    alone = score_classes(replace(found, klass=np.where(truth.protein == 0, found.klass, -1)), truth, SYMMETRIES)
    assert 15 < alone.spread < 19


def test_another_seed_draws_other_borders_of_the_ideal_partition_between_views_alone() -> None:
    truth = make_truth()
    first, second = (ideal_classes(truth, 20, SYMMETRIES, seed).klass[truth.good] for seed in (0, 1))
    assert 0.2 < adjusted_rand_index(first, second) < 0.8
    proteins = truth.protein[truth.good]
    assert set(second[proteins == 0]).isdisjoint(second[proteins == 1])


def test_the_angle_and_centre_of_a_class_do_not_count_but_errors_do() -> None:
    truth, rng = make_truth(), np.random.default_rng(6)
    found = ideal_classes(truth, 100, SYMMETRIES)
    exact = score_classes(found, truth, SYMMETRIES)
    turns, places = rng.uniform(0, 360, 100), rng.normal(0, 20, (100, 2))
    displaced = score_classes(displace(found, turns, places), truth, SYMMETRIES)
    assert displaced.shift_error < 1e-6
    assert displaced.psi_error == pytest.approx(exact.psi_error, abs=0.7)
    assert exact.psi_error < 7
    wrong = replace(
        found, psi=found.psi + rng.choice([-15, 0, 15], len(truth)), origin=found.origin + rng.normal(0, 6, (len(truth), 2))
    )
    scores = score_classes(displace(wrong, turns, places), truth, SYMMETRIES)
    assert 8 < scores.psi_error < 17
    assert scores.shift_error == pytest.approx(6 * 1.177, rel=0.25)


def test_shuffled_classes_score_like_chance() -> None:
    truth = make_truth()
    found = replace(ideal_classes(truth, 20, SYMMETRIES), kept=np.ones(len(truth), dtype=bool))
    scores = score_classes(shuffle_classes(found), truth, ("C1", "C1"))
    assert scores.spread > 65
    assert abs(scores.protein_index) < 0.05
    assert scores.purity < 0.5


def test_symmetric_copies_of_a_view_are_one_view() -> None:
    operators = symmetry_operators("D7")
    rng = np.random.default_rng(1)
    direction = np.array([0.3, -0.5, 0.8]) / np.linalg.norm([0.3, -0.5, 0.8])
    views = direction + rng.normal(0, 0.05, (200, 3))
    views /= np.linalg.norm(views, axis=1, keepdims=True)
    copies = np.einsum("ni,nij->nj", views, operators[rng.integers(0, len(operators), 200)])
    mean = find_mean_view(copies, operators)
    assert view_angles(mean[None], direction[None], operators)[0, 0] < 2
    assert np.median(view_angles(copies, mean[None], operators)) < 5


def test_rand_index_of_known_partitions() -> None:
    first = np.array([0, 0, 0, 1, 1, 1])
    assert adjusted_rand_index(first, 7 - first) == 1
    # 2 of 15 pairs are together in both, 6 in the first, 3 in the second.
    assert adjusted_rand_index(first, np.array([0, 0, 1, 1, 2, 2])) == pytest.approx((2 - 6 * 3 / 15) / (4.5 - 6 * 3 / 15))
    random = np.random.default_rng(1).integers(0, 5, (2, 3000))
    assert abs(adjusted_rand_index(random[0], random[1])) < 0.01


def test_true_averages_are_the_members_projections_upright() -> None:
    """One view, turned and moved at random, and found so: the average is that view, at the class's angle and centre."""
    rng, count = np.random.default_rng(8), 12
    psi, origin = rng.uniform(-180, 180, count), rng.normal(0, 6, (count, 2))
    truth = ParticleSetTruth(
        np.full(count, "good"), np.zeros(count, dtype=np.int64), np.full(count, 30.0), np.full(count, 70.0), psi, origin,
        np.zeros(count, dtype=np.int64),
    )  # fmt: skip
    views = make_views(build_phantom("monomer"), 4.0, 48)
    found = displace(
        ClassAssignment(np.zeros(count, dtype=np.int64), psi, origin, np.ones(count, dtype=bool)),
        np.array([25.0]),
        np.array([[8.0, -4.0]]),
    )
    average = draw_true_average(np.arange(count), found, truth, views, 4.0)
    one = draw_true_average(np.arange(1), found, truth, views, 4.0)
    assert float((average - one).abs().max()) < 0.02 * float(one.max())
    # The class's angle turns the view by -25 degrees, its centre lies at (8, -4) Å.
    frames = euler_matrices(np.array([30.0]), np.array([70.0]), np.array([-25.0]))[:, :2]
    shift = torch.tensor([[-4.0 / 4 + 24, 8.0 / 4 + 24]])
    expected = torch.fft.irfft2(rfft_shift(views.project(frames), (48, 48), shift), s=(48, 48))[0]
    assert float((one - expected).abs().max()) < 0.02 * float(one.max())
    assert true_resolutions(average[None].numpy(), found, truth, [views], 4.0)[0] < 9
