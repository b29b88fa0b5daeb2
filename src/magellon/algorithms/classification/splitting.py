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
    """Split the largest class into itself and an empty one, for each empty one, as long as there is one large enough.

    Both keep all shells of the class they come from: with the few alone in which they differ, they would explain less than any
    other class, lose their particles, and be the next to be filled.
    """
    for target in empty:
        found = poses.klass[poses.klass >= 0]
        counts = torch.bincount(found, minlength=model.classes)
        largest = int(counts.argmax())
        if counts[largest] < 2 * _LEAST:
            model.log_prior[target] = -torch.inf
            continue
        members = (poses.klass == largest).nonzero()[:, 0]
        apart = _find_difference(data, poses, geometry, _sample(members, generator)) / 2
        for references in (model.whole, *model.others):
            references[target] = references[largest]
            references[largest, : len(apart)] += apart
            references[target, : len(apart)] -= apart
        model.log_prior[[largest, target]] = 0
        poses.klass[members[len(members) // 2 :]] = target


def _sample(members: Tensor, generator: torch.Generator) -> Tensor:
    return members[torch.randperm(len(members), generator=generator)[:_SAMPLE]].sort().values


def _find_difference(data: ParticleData, poses: Poses, geometry: Geometry, members: Tensor) -> Tensor:
    """(d',) between the averages of the two sides, low-passed."""
    low = geometry.disc.inner(min(_RADIUS, geometry.disc.radius))
    upright = draw_upright(data, poses, members, low, geometry.box)
    side = split_images(upright.images)
    weights = torch.stack([side, ~side]).float()
    first, second = upright.average(weights, torch.full((low.radius + 1,), _SIGNAL, device=weights.device))
    difference: Tensor = first - second
    return difference
