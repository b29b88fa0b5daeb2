"""New classes out of old ones: a class is split along the direction in which its particles differ most."""

import torch
from torch import Tensor

from magellon.algorithms.classification.particles import ParticleData, Poses
from magellon.algorithms.classification.rounds import Geometry, Model
from magellon.algorithms.classification.upright import draw_upright, split_images

_RADIUS = 8
_SAMPLE = 400
_SIGNAL = 1.0
"""Power of the signal the averages of the two sides are filtered with, in units of the noise of a coefficient."""
_LEAST = 8
"""Particles a class must have to be split."""


def fill_classes(
    data: ParticleData, poses: Poses, model: Model, geometry: Geometry, empty: list[int], generator: torch.Generator
) -> None:
    """Split the largest class into itself and an empty one, for each empty one, as long as there is one large enough."""
    for target in empty:
        found = poses.klass[poses.klass >= 0]
        counts = torch.bincount(found, minlength=model.classes)
        largest = int(counts.argmax())
        if counts[largest] < 2 * _LEAST:
            model.log_prior[target] = -torch.inf
            continue
        members = (poses.klass == largest).nonzero()[:, 0]
        sides = _split(data, poses, model, geometry, _sample(members, generator))
        for klass, coefficients in zip((largest, target), sides, strict=True):
            _replace(model, klass, coefficients)
        poses.klass[members[len(members) // 2 :]] = target


def _sample(members: Tensor, generator: torch.Generator) -> Tensor:
    return members[torch.randperm(len(members), generator=generator)[:_SAMPLE]].sort().values


def _split(data: ParticleData, poses: Poses, model: Model, geometry: Geometry, members: Tensor) -> Tensor:
    """(2, d') averages of the two sides, low-passed."""
    low = geometry.disc.inner(min(_RADIUS, geometry.disc.radius))
    upright = draw_upright(data, poses, members, low, geometry.box)
    side = split_images(upright.images)
    weights = torch.stack([side, ~side]).float()
    return upright.average(weights, torch.full((low.radius + 1,), _SIGNAL, device=weights.device))


def _replace(model: Model, klass: int, coefficients: Tensor) -> None:
    size = len(coefficients)
    for references in (model.whole, *model.others):
        references[klass] = 0
        references[klass, :size] = coefficients
    model.log_prior[klass] = 0
