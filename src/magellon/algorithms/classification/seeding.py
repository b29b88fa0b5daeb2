"""The first K classes: groups of particles that show the same view, averaged."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from magellon.algorithms.classification.autoencoder import embed_images
from magellon.algorithms.classification.clustering import cluster
from magellon.algorithms.classification.disc import draw_images, image_size
from magellon.algorithms.classification.neighbours import Groups, group_views
from magellon.algorithms.classification.pairs import compare_images
from magellon.algorithms.classification.particles import ParticleData, Poses
from magellon.algorithms.classification.rotation import turn_references
from magellon.algorithms.classification.rounds import Geometry, Model
from magellon.algorithms.classification.steerable import find_components, find_harmonics, noise_covariance
from magellon.algorithms.classification.upright import draw_upright

Seeds = Literal["neighbours", "can", "random", "splitting"]
_RADIUS = 9
_SAMPLE = 4000
_ALIGNED = 4
"""The round after which particles lie upright."""
_COMPARED, _PER_CLASS, _MOST_COMPARED = 1500, 60, 3000
"""Particles that are compared all with all: at least, of each class, and at most."""
_PAIR_RADIUS = 10
_ORDER = 20
"""Highest angular order that is compared."""
_PLACES = 4
"""Steps beside where a particle was found are that many to the finest wave that is compared."""
_SIGNAL = 1.0
"""Power of the signal the seeds are filtered with, in units of the noise of a coefficient."""


def choose_seeding(kind: Seeds, rounds: int) -> int | None:
    """The round after which classes are found; None where they grow by splitting.

    What is compared pair by pair needs to be centred only, for which one round blob is best; the rest has to be turned upright.
    """
    if kind == "splitting":
        return None
    return 0 if kind == "neighbours" else min(_ALIGNED, max(rounds // 3, 1))


def seed_classes(
    data: ParticleData, poses: Poses, model: Model, geometry: Geometry, kind: Seeds, generator: torch.Generator
) -> None:
    """Replace the model's references by K averages of particles that look alike, or of random ones."""
    members = (poses.klass >= 0).nonzero()[:, 0]
    most = min(max(_COMPARED, _PER_CLASS * model.classes), _MOST_COMPARED) if kind == "neighbours" else _SAMPLE
    members = members[torch.randperm(len(members), generator=generator)[:most]].sort().values
    low = geometry.disc.inner(min(_RADIUS, geometry.disc.radius))
    if kind == "neighbours":
        groups = find_neighbours(data, poses, geometry, members, model.classes, generator)
        labels = groups.label
        aligned = replace(poses, psi=poses.psi.index_put((members,), -torch.rad2deg(groups.turn)))
    else:
        aligned = _turn_alike(poses, model, geometry)
    upright = draw_upright(data, aligned, members, low, geometry.box)
    if kind == "random":
        labels = torch.randint(model.classes, (len(members),), generator=generator)
    elif kind != "neighbours":
        labels = cluster(embed_images(upright.whitened(), generator), model.classes, generator).cpu()
    weights = torch.nn.functional.one_hot(labels, model.classes).T.float().to(low.rows.device)
    signal = torch.full((low.radius + 1,), _SIGNAL, device=weights.device)
    first = model.limit
    seeds = upright.average(weights, signal) * (low.shells <= first)
    used = weights.sum(1) > 0
    pad = (0, len(geometry.disc.rows) - len(low.rows))
    model.whole = torch.nn.functional.pad(seeds, pad)
    model.others = model.whole.expand(data.folds, *model.whole.shape).clone()
    model.log_prior = torch.where(used, 0.0, -torch.inf)
    poses.klass[:] = -1
    poses.klass[members] = labels
    poses.psi[members] = aligned.psi[members]


def find_neighbours(
    data: ParticleData, poses: Poses, geometry: Geometry, members: Tensor, classes: int, generator: torch.Generator
) -> Groups:
    """The particles `members` by view, from comparing all of them with each other."""
    low = geometry.disc.inner(min(_PAIR_RADIUS, geometry.disc.radius))
    size = image_size(low.radius)
    mask = geometry.box.mask(low.rows.device, size)
    batch = data.take(members, low)
    white = batch.values / batch.transfer.clamp(min=1e-6).sqrt()[:, low.shells]
    step = 1 / (_PLACES * low.radius)
    places = torch.cartesian_prod(*2 * [torch.tensor([0.0, -step, step])])
    shifts = poses.shift[members, None] + places
    drawn = [
        find_harmonics(draw_images(white * low.phases(shift.to(white.device)), low, size) * mask, low.radius, _ORDER)
        for shift in shifts.unbind(1)
    ]
    # Particles are masked, but their noise is taken for that of a whole box: so what lies near the rim counts less, where masks
    # were moved with their particles and neighbours look in.
    components = find_components(drawn[0], noise_covariance(low, _ORDER))
    found = [components.project(each) for each in drawn]
    pairs = compare_images(found, components.orders, components.signal, geometry.threads)
    return group_views(pairs, classes, generator)


def _turn_alike(poses: Poses, model: Model, geometry: Geometry) -> Poses:
    """Poses with the classes turned against each other so that they look as alike as they can: one rotation for all."""
    counts = torch.bincount(poses.klass[poses.klass >= 0], minlength=model.classes)
    low = geometry.disc.inner(min(_RADIUS, geometry.disc.radius))
    angles = torch.arange(72) * 5.0
    turned = turn_references(model.whole[:, : len(low.rows)], low, angles)
    fit = (turned * model.whole[int(counts.argmax()), : len(low.rows)].conj()).real.sum(-1)
    offsets: Tensor = angles[fit.argmax(1).cpu()]
    psi = poses.psi - torch.where(poses.klass >= 0, offsets[poses.klass], 0.0)
    return replace(poses, psi=psi)
