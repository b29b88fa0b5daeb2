"""What classification must not do: find detail in noise, and let a shell into a reference that was not found without it."""

import torch

from magellon.algorithms.classification.autoencoder import cluster, embed_images
from magellon.algorithms.classification.averages import FoldAverages, filter_averages
from magellon.algorithms.classification.classify import classify
from magellon.algorithms.classification.disc import make_disc
from magellon.algorithms.classification.limits import advance_limits, first_shells
from magellon.algorithms.classification.particles import ParticleData
from magellon.algorithms.classification.preparation import Box, Optics, prepare_particles
from magellon.algorithms.classification.records import Settings
from magellon.algorithms.classification.rounds import Geometry
from magellon.algorithms.parallel import single_threaded_kernels

DISC = make_disc(12)
BOX = Box(32, 2.0, 12.0)


def make_averages(shared_to: int, folds: int = 4) -> FoldAverages:
    """One class whose folds agree up to a shell and hold nothing but noise beyond."""
    generator = torch.Generator().manual_seed(2)
    size = len(DISC.rows)
    common = 3 * torch.randn(1, size, dtype=torch.complex64, generator=generator) * (DISC.shells <= shared_to)
    noise = torch.randn(folds, 1, size, dtype=torch.complex64, generator=generator)
    ones = torch.ones(folds, 1, DISC.radius + 1)
    return FoldAverages(common + noise, ones, torch.full((folds, 1), 50.0), DISC)


def test_limits_advance_where_halves_agree_and_stop_where_they_do_not() -> None:
    averages, limits = make_averages(8), torch.tensor([3])
    for _ in range(6):
        limits = advance_limits(limits, averages, 0.5, (3, 12))
    # Two shells are left between what is known and what is looked at.
    assert limits.tolist() == [6]


def test_a_particles_own_fold_is_not_in_its_reference() -> None:
    averages = make_averages(12)
    other = FoldAverages(averages.sums.clone(), averages.transfer, averages.weight, DISC)
    other.sums[1] += 5
    before, after = (filter_averages(each, torch.tensor([12])).others for each in (averages, other))
    change = (after - before).abs().amax(dim=(1, 2))
    # Only the estimate of the signal's power, which all folds share, is felt in the fold itself.
    assert change[1] < 0.1 * change[0]


def test_noise_shows_no_detail() -> None:
    noise = torch.randn(120, 32, 32, generator=torch.Generator().manual_seed(4))
    prepared = prepare_particles(noise, Optics(None), BOX, DISC)
    data = ParticleData(
        torch.view_as_real(prepared.values), prepared.power, prepared.transfer, torch.zeros(120, dtype=torch.long),
        torch.arange(120) % 4, prepared.background.mean(0, keepdim=True).clamp(min=1e-6),
    )  # fmt: skip
    with single_threaded_kernels():
        found = classify(data, Geometry(BOX, DISC, 0.75, 0.1, 0.05), Settings(classes=3, rounds=5))
    assert found.first == first_shells(0.75, 12)
    assert int((found.limits > found.first).sum()) <= 1


def test_codes_tell_images_apart_that_differ() -> None:
    generator = torch.Generator().manual_seed(5)
    place = torch.arange(20) - 10
    y, x = torch.meshgrid(place, place, indexing="ij")
    kinds = torch.stack([torch.exp(-((x - a) ** 2 + (y - b) ** 2) / 12.0) for a, b in ((4, 0), (-4, 3), (0, -5))])
    truth = torch.arange(120) % 3
    images = kinds[truth] + 0.5 * torch.randn(120, 20, 20, generator=generator)
    with single_threaded_kernels():
        labels = cluster(embed_images(images, generator), 3, generator)
    table = torch.stack([torch.bincount(labels[truth == kind], minlength=3) for kind in range(3)])
    assert int(table.max(1).values.sum()) > 110
