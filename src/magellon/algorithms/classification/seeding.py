"""The first K classes: particles aligned to a few blurred ones, told apart by the autoencoder, and averaged."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from magellon.algorithms.classification.autoencoder import cluster, embed_images
from magellon.algorithms.classification.particles import ParticleData, Poses
from magellon.algorithms.classification.rotation import turn_references
from magellon.algorithms.classification.rounds import Geometry, Model
from magellon.algorithms.classification.upright import draw_upright

Seeds = Literal["can", "random", "splitting"]
_RADIUS = 9
_SAMPLE = 4000
_SIGNAL = 1.0
"""Power of the signal the seeds are filtered with, in units of the noise of a coefficient."""


def seed_classes(
    data: ParticleData, poses: Poses, model: Model, geometry: Geometry, kind: Seeds, generator: torch.Generator
) -> None:
    """Replace the model's references by K averages of particles that look alike, or of random ones."""
    members = (poses.klass >= 0).nonzero()[:, 0]
    members = members[torch.randperm(len(members), generator=generator)[:_SAMPLE]].sort().values
    low = geometry.disc.inner(min(_RADIUS, geometry.disc.radius))
    aligned = _turn_alike(poses, model, geometry)
    upright = draw_upright(data, aligned, members, low, geometry.box)
    if kind == "random":
        labels = torch.randint(model.classes, (len(members),), generator=generator).to(upright.images.device)
    else:
        labels = cluster(embed_images(upright.whitened(), generator), model.classes, generator)
    weights = torch.nn.functional.one_hot(labels, model.classes).T.float()
    signal = torch.full((low.radius + 1,), _SIGNAL, device=weights.device)
    first = model.limit
    seeds = upright.average(weights, signal) * (low.shells <= first)
    used = weights.sum(1) > 0
    pad = (0, len(geometry.disc.rows) - len(low.rows))
    model.whole = torch.nn.functional.pad(seeds, pad)
    model.others = model.whole.expand(data.folds, *model.whole.shape).clone()
    model.log_prior = torch.where(used, 0.0, -torch.inf)
    poses.klass[:] = -1
    poses.klass[members] = labels.cpu()
    poses.psi[members] = aligned.psi[members]


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
