"""What classification must not do: find detail in noise, and let a shell into a reference that was not found without it."""

import pytest
import torch

from magellon.algorithms.classification.autoencoder import embed_images
from magellon.algorithms.classification.averages import FoldAverages, filter_averages, mask_references
from magellon.algorithms.classification.classify import classify
from magellon.algorithms.classification.clustering import cluster
from magellon.algorithms.classification.disc import make_disc
from magellon.algorithms.classification.limits import advance_limit, first_shells, measure_proof, shown_limits
from magellon.algorithms.classification.particles import ParticleData, Poses
from magellon.algorithms.classification.preparation import Box, Optics, prepare_particles
from magellon.algorithms.classification.records import Settings
from magellon.algorithms.classification.rounds import Geometry, Model, run_round
from magellon.algorithms.classification.splitting import fill_classes
from magellon.algorithms.parallel import single_threaded_kernels

DISC = make_disc(12)
BOX = Box(32, 2.0, 12.0)


def make_averages(shared_to: int, folds: int = 4, classes: int = 1, signal: float = 3.0) -> FoldAverages:
    """Classes whose folds agree up to a shell and hold nothing but noise beyond."""
    generator = torch.Generator().manual_seed(2)
    size = len(DISC.rows)
    common = signal * torch.randn(classes, size, dtype=torch.complex64, generator=generator) * (DISC.shells <= shared_to)
    noise = torch.randn(folds, classes, size, dtype=torch.complex64, generator=generator)
    ones = torch.ones(folds, classes, DISC.radius + 1)
    return FoldAverages(common + noise, ones, torch.full((folds, classes), 50.0), DISC)


def make_noise(count: int) -> ParticleData:
    noise = torch.randn(count, 32, 32, generator=torch.Generator().manual_seed(4))
    prepared = prepare_particles(noise, Optics(None), BOX, DISC)
    return ParticleData(
        torch.view_as_real(prepared.values), prepared.power, prepared.transfer, torch.zeros(count, dtype=torch.long),
        torch.arange(count) % 4, prepared.background.mean(0, keepdim=True).clamp(min=1e-6),
    )  # fmt: skip


def test_the_limit_advances_where_halves_agree_and_stops_where_they_do_not() -> None:
    averages, limit = make_averages(8), 3
    for _ in range(6):
        limit = advance_limit(limit, averages, 0.5, (3, 12))
    # Two shells are left between what is known and what is looked at.
    assert limit == 6
    assert advance_limit(3, make_averages(2), 0.5, (3, 12)) == 3


def test_classes_that_agree_weakly_take_a_shell_together() -> None:
    """One class alone with such a correlation does not: it may be chance."""
    averages, many = make_averages(12, signal=0.35), make_averages(12, classes=20, signal=0.35)
    assert advance_limit(3, averages, 0.5, (3, 12)) == 3
    assert advance_limit(3, many, 0.5, (3, 12)) == 5


def test_halves_prove_what_the_alignment_did_not_know_and_noise_proves_nothing() -> None:
    assert measure_proof(make_averages(12, classes=20, signal=0.35), 5, 0.5) > 5
    # Full area: all coefficients are independent, and twenty classes of noise are within two standard deviations.
    assert abs(measure_proof(make_averages(5, classes=20), 5, 1.0)) < 2
    assert measure_proof(make_averages(12), 12, 0.5) == float("inf")


def test_each_class_shows_what_its_own_halves_agree_in() -> None:
    first, second = make_averages(6), make_averages(10)
    both = FoldAverages(*(torch.cat([getattr(a, n) for a in (first, second)], 1) for n in ("sums", "transfer", "weight")), DISC)
    assert shown_limits(both, (3, 12)).tolist() == [6, 10]
    assert shown_limits(both, (3, 8)).tolist() == [6, 8]


def test_a_particles_own_fold_is_not_in_its_reference() -> None:
    averages = make_averages(12)
    other = FoldAverages(averages.sums.clone(), averages.transfer, averages.weight, DISC)
    other.sums[1] += 5
    before, after = (filter_averages(each, torch.tensor(12)).others for each in (averages, other))
    change = (after - before).abs().amax(dim=(1, 2))
    # Only the estimate of the signal's power, which all folds share, is felt in the fold itself.
    assert change[1] < 0.1 * change[0]


def test_noise_shows_no_detail() -> None:
    data = make_noise(120)
    with single_threaded_kernels():
        found = classify(data, Geometry(BOX, DISC, 0.75, 0.1, 0.05), Settings(classes=3, rounds=5))
    assert found.first == first_shells(0.75, 12)
    assert int((found.limits > found.first).sum()) <= 1


@pytest.mark.parametrize(
    ("count", "noise", "least"),
    [
        pytest.param(120, 0.5, 110, id="clear"),
        # As particles are: convolutions that begin at random do not find here what principal components show.
        pytest.param(600, 1.6, 480, id="nearly-all-noise"),
    ],
)
def test_codes_tell_images_apart_that_differ(count: int, noise: float, least: int) -> None:
    generator = torch.Generator().manual_seed(6)
    place = torch.arange(20) - 10
    y, x = torch.meshgrid(place, place, indexing="ij")
    kinds = torch.stack([torch.exp(-((x - a) ** 2 + (y - b) ** 2) / 12.0) for a, b in ((4, 0), (-4, 3), (0, -5))])
    truth = torch.arange(count) % 3
    images = kinds[truth] + noise * torch.randn(count, 20, 20, generator=generator)
    with single_threaded_kernels():
        labels = cluster(embed_images(images, generator), 3, generator)
    table = torch.stack([torch.bincount(labels[truth == kind], minlength=3) for kind in range(3)])
    assert int(table.max(1).values.sum()) > least


def test_an_empty_box_counts_by_its_chance_to_hold_a_particle() -> None:
    data, geometry = make_noise(8), Geometry(BOX, DISC, 0.75, 0.1, 0.05)
    reference = torch.randn(1, len(DISC.rows), dtype=torch.complex64, generator=torch.Generator().manual_seed(5))
    model = Model(reference, reference.expand(4, 1, -1).clone(), 8, torch.zeros(1))
    poses = Poses.unknown(8)
    whole = run_round(data, poses, torch.arange(8), model, geometry).averages.occupancy.sum()
    poses.empty = torch.tensor([1.0, 1.0, 0.5, 0, 0, 0, 0, 0])
    part = run_round(data, poses, torch.arange(8), model, geometry).averages.occupancy.sum()
    assert float(whole - part) == pytest.approx(2.5, abs=0.1)


def test_a_class_that_was_filled_holds_its_particles_beside_another_that_knows_more_shells() -> None:
    """Given the few shells alone in which it is split, it would lose them all, and be filled again at another's cost."""
    generator = torch.Generator().manual_seed(5)
    kind = mask_references(torch.randn(1, len(DISC.rows), dtype=torch.complex64, generator=generator), DISC, BOX)[0]
    count, shells = 300, DISC.radius + 1
    noise = 3 * torch.randn(count, len(DISC.rows), dtype=torch.complex64, generator=generator)
    zeros, ones = torch.zeros(count, dtype=torch.long), torch.ones(count, shells)
    values = torch.view_as_real(2 * kind + noise)
    data = ParticleData(values, ones, ones, zeros, torch.arange(count) % 4, torch.full((1, shells), 9.0))
    whole = torch.stack([2 * kind, 2 * kind, torch.zeros_like(kind)])
    model = Model(whole, whole.expand(4, *whole.shape).clone(), DISC.radius, torch.tensor([0, 0, -torch.inf]))
    geometry, poses = Geometry(BOX, DISC, 0.75, 0.1, 0.05), Poses.unknown(count)
    with single_threaded_kernels():
        before = run_round(data, poses, torch.arange(count), model, geometry).averages.occupancy
        fill_classes(data, poses, model, geometry, [2], generator)
        after = run_round(data, poses, torch.arange(count), model, geometry).averages.occupancy
    assert before[2] == 0
    assert min(before[:2]) > 0.4 * count
    assert min(after) > 0.2 * count


def test_devices_that_share_a_round_give_the_same_sums() -> None:
    """Nothing but the arithmetic of GPUs may differ; here all of them are the CPU."""
    data = make_noise(1500)
    reference = torch.randn(2, len(DISC.rows), dtype=torch.complex64, generator=torch.Generator().manual_seed(5))
    found = []
    with single_threaded_kernels():
        for devices in ((), ("cpu", "cpu", "cpu")):
            model = Model(reference, reference.expand(4, 2, -1).clone(), 8, torch.zeros(2))
            poses = Poses.unknown(1500)
            result = run_round(data, poses, torch.arange(1500), model, Geometry(BOX, DISC, 0.75, 0.1, 0.05, devices=devices))
            found.append((result.averages.sums, poses.psi, poses.gain))
    assert all(torch.equal(one, three) for one, three in zip(*found, strict=True))
