"""Which classes are kept, and what is said of each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from magellon.algorithms.classification.preparation import Box
from magellon.algorithms.classification.records import Classification
from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.contracts import BadInput


@dataclass(frozen=True)
class Verdict:
    """Of each class (K,), largest first."""

    order: NDArray[np.int64]
    """Class of the computation that became number 1, 2, ... of the result."""
    occupancy: NDArray[np.int64]
    """Particles that fit best there."""
    resolution: NDArray[np.float64]
    """Å."""
    quality: NDArray[np.float64]
    """0..1."""
    junk: NDArray[np.float64]
    """Probability."""
    selected: NDArray[np.bool_]


def judge_classes(found: Classification, box: Box, params: CanClassifierParams) -> Verdict:
    """Sort classes by occupancy and decide which to keep.

    Raises:
        BadInput: `select` or `reject` names a class that does not exist.
    """
    counts = np.bincount(found.poses.klass.numpy(), minlength=len(found.averages))
    order = np.lexsort((np.arange(len(counts)), -counts))
    order = order[counts[order] > 0]
    check_numbers(params.select, len(order), "select")
    check_numbers(params.reject, len(order), "reject")
    limits = found.limits.cpu().numpy()[order]
    resolution = box.size * box.pixel_size / limits
    junk = np.where(limits <= found.first, 1.0, 0.1)
    chosen = junk < params.threshold if params.threshold > 0 else junk < 0
    numbers = np.arange(1, len(order) + 1)
    chosen = (chosen | np.isin(numbers, params.select)) & ~np.isin(numbers, params.reject)
    return Verdict(order, counts[order], resolution, 1 - junk, junk, chosen)


def check_numbers(numbers: Sequence[int], most: int, name: str) -> None:
    wrong = [number for number in numbers if not 1 <= number <= most]
    if wrong:
        raise BadInput(f"{name}: there is no class {wrong[0]}; the classes are 1 to {most}")


def renumber(found: Classification, verdict: Verdict) -> NDArray[np.int64]:
    """The number, from 1, of each particle's class."""
    numbers = np.zeros(len(found.averages), dtype=np.int64)
    numbers[verdict.order] = np.arange(1, len(verdict.order) + 1)
    klass: NDArray[np.int64] = numbers[found.poses.klass.numpy()]
    return klass


def sorted_averages(found: Classification, verdict: Verdict) -> torch.Tensor:
    return found.averages[torch.from_numpy(verdict.order)]
