"""Which classes and particles are kept, and what is said of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magellon.algorithms.classification.disc import draw_images
from magellon.algorithms.classification.limits import unmixed_distance
from magellon.algorithms.classification.particles import ParticleData
from magellon.algorithms.classification.quality import Evidence, judge, measure_signal
from magellon.algorithms.classification.records import Classification
from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.backends.can_classifier.plan import Plan
from magellon.contracts import BadInput

_PIECE = 16384
"""Particles looked at at a time."""
_NOTHING_SHOWN = 4
"""Part of the diameter that a class resolves of which no detail is proven."""


@dataclass(frozen=True)
class Verdict:
    """Of each class (K,), largest first, and each usable particle (n,)."""

    averages: NDArray[np.float32]
    """(K, box, box)"""
    occupancy: NDArray[np.int64]
    """Particles that fit best there."""
    resolution: NDArray[np.float64]
    """Å."""
    quality: NDArray[np.float64]
    """0..1."""
    junk: NDArray[np.float64]
    """Probability."""
    selected: NDArray[np.bool_]
    klass: NDArray[np.int64]
    """(n,) number of its class, from 1."""
    particle_junk: NDArray[np.float64]
    """(n,) probability."""
    correlation: NDArray[np.float64]
    """(K, shells + 1) Fourier ring correlation of each class's halves."""
    biased: int
    """The last shell in which halves may agree because they were aligned to common references."""


def judge_classes(found: Classification, data: ParticleData, plan: Plan, params: CanClassifierParams) -> Verdict:
    """Sort classes by occupancy and decide which to keep.

    Raises:
        BadInput: `select` or `reject` names a class that does not exist.
    """
    counts = torch.bincount(found.poses.klass, minlength=len(found.averages))
    order = torch.argsort(counts, descending=True, stable=True)
    order = order[counts[order] > 0]
    check_numbers(params.select, len(order), "select")
    check_numbers(params.reject, len(order), "reject")
    place = torch.zeros(len(counts), dtype=torch.long)
    place[order] = torch.arange(len(order))
    klass = place[found.poses.klass]
    limits = found.limits.cpu()[order]
    extent = plan.box.size * plan.box.pixel_size
    nothing = plan.diameter / _NOTHING_SHOWN
    resolution = torch.where(limits > found.first, extent / limits, nothing)
    averages = draw_images(found.averages.cpu()[order], found.disc.to("cpu"), plan.box.size)
    disc = plan.disc.to("cpu")
    let_through = float((plan.box.mask() ** 2).mean())
    (signal, coefficients), (_, given) = (
        _measure_signal(data, disc.counts, shells, let_through) for shells in (found.aligned, min(found.first, found.aligned))
    )
    evidence = Evidence(
        averages,
        klass,
        found.poses.gain,
        signal,
        coefficients,
        coefficients - given,
        resolution.float(),
        plan.box.pixel_size,
        plan.diameter,
        found.proof,
    )
    judged = judge(evidence)
    # Noise aligned to a reference agrees in what the reference holds.
    resolution = torch.where(judged.class_junk < params.threshold, resolution, nothing)
    junk = judged.class_junk.double().numpy()
    numbers = np.arange(1, len(order) + 1)
    forced = np.isin(numbers, params.select)
    selected = ((junk < params.threshold) | forced) & ~np.isin(numbers, params.reject)
    return Verdict(
        averages=averages.numpy(),
        occupancy=counts[order].numpy(),
        resolution=resolution.double().numpy(),
        quality=judged.quality.double().numpy(),
        junk=junk,
        selected=selected,
        klass=klass.numpy() + 1,
        particle_junk=judged.particle_junk.double().numpy(),
        correlation=found.correlation.cpu()[order].double().numpy(),
        biased=found.aligned + unmixed_distance(plan.geometry.area) - 1,
    )


def _measure_signal(data: ParticleData, counts: Tensor, shells: int, let_through: float) -> tuple[Tensor, Tensor]:
    """`measure_signal` of all particles, piece by piece."""
    found = []
    for part in torch.split(torch.arange(len(data)), _PIECE):
        last = torch.full((len(part),), shells)
        found.append(measure_signal(data.power[part], data.noise[data.group[part]], counts, last, let_through))
        data.forget()
    signal, coefficients = (torch.cat(each) for each in zip(*found, strict=True))
    return signal, coefficients


def find_selected(verdict: Verdict, params: CanClassifierParams) -> NDArray[np.bool_]:
    """(n,) particles of selected classes that are no junk themselves; of classes selected by number, all."""
    index = verdict.klass - 1
    chosen: NDArray[np.bool_] = verdict.selected[index] & (
        (verdict.particle_junk < params.threshold) | np.isin(verdict.klass, params.select)
    )
    return chosen


def check_numbers(numbers: Sequence[int], most: int, name: str) -> None:
    wrong = [number for number in numbers if not 1 <= number <= most]
    if wrong:
        raise BadInput(f"{name}: there is no class {wrong[0]}; the classes are 1 to {most}")
