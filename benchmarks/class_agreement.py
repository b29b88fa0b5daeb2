"""How far two classifications of the same particles agree, and how far they could.

Views are continuous, so that where one class ends and the next begins is arbitrary: partitions of the true views from two
beginnings differ as well. What should not depend on the beginning is which particles are kept, and that each class average has
a counterpart, the same view turned and moved.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.class_runs import Run
from magellon.algorithms.classification.rotation import turn_images
from magellon.algorithms.fsc import fourier_shell_correlation, resolution_at
from magellon.simulation.class_scores import adjusted_rand_index, find_main_proteins, ideal_classes
from magellon.simulation.particle_truth import ParticleSetTruth

_ANGLES = torch.arange(72) * 5.0
_REACH = 3
"""Pixels along each axis that two centred averages may lie apart."""


def compare_runs(
    runs: tuple[Run, Run], truth: ParticleSetTruth, symmetries: list[str], classes: int, pixel_size: float
) -> dict[str, float]:
    """The figures of two runs, beside those of two ideal partitions."""
    first, second = (run.found for run in runs)
    mains = [find_main_proteins(found, truth) for found in (first, second)]
    good = truth.good & (first.klass >= 0) & (second.klass >= 0)
    ideal = [ideal_classes(truth, classes, symmetries, seed).klass[good] for seed in (0, 1)]
    one, other = (select_averages(run) for run in runs)
    across = np.concatenate([match_averages(one, other), match_averages(other, one)])
    within = np.concatenate([match_averages(each, each, apart=True) for each in (one, other)])
    detail = np.concatenate([find_shared_detail(one, other, pixel_size), find_shared_detail(other, one, pixel_size)])
    return {
        "ARI of classes, two seeds": adjusted_rand_index(first.klass[good], second.klass[good]),
        "the same of ideal partitions": adjusted_rand_index(ideal[0], ideal[1]),
        "same protein, two seeds": float((mains[0] == mains[1]).mean()),
        "kept by both of kept by one": float((first.kept & second.kept).sum() / max(1, (first.kept | second.kept).sum())),
        "average's best correlation, other seed": float(np.median(across)),
        "lowest of them": float(across.min()),
        "average's best correlation, same seed": float(np.median(within)),
        "FRC 0.5, two seeds (Å)": float(np.median(detail)),
    }


def select_averages(run: Run) -> Tensor:
    """(k, n, n) averages of the classes that have particles that are kept."""
    numbers = np.unique(run.found.klass[run.found.kept])
    return torch.from_numpy(run.averages[numbers]).float()


def match_averages(first: Tensor, second: Tensor, apart: bool = False) -> NDArray[np.float64]:
    """(k,) of each average of the first, its correlation with the one of the second that it fits best, turned and moved.

    Args:
        apart: both are the same; an average is not compared with itself.
    """
    values = _fit_all(first, second)[0]
    if apart:
        values.fill_diagonal_(-1.0)
    return np.asarray(values.max(1).values.double().numpy())


def find_shared_detail(first: Tensor, second: Tensor, pixel_size: float) -> NDArray[np.float64]:
    """(k,) Å to which each average of the first correlates by 0.5 with its counterpart."""
    values, angles, moves = _fit_all(first, second)
    found = []
    for index, partner in enumerate(values.argmax(1).tolist()):
        turned = turn_images(second[partner : partner + 1], angles[index, partner].reshape(1))[0]
        row, column = moves[index, partner].tolist()
        moved = torch.roll(turned, (row, column), (0, 1))
        found.append(resolution_at(fourier_shell_correlation(first[index], moved), 0.5, pixel_size))
    return np.array(found)


def _fit_all(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(k, m) correlations at the best angle and place, (k, m) those angles, (k, m, 2) those places (rows, columns)."""
    size = first.shape[-1]
    best, angles, moves = [], [], []
    conjugate = torch.fft.rfft2(_normalise(first)).conj()
    for image in second:
        turned = _normalise(turn_images(image.expand(len(_ANGLES), size, size), _ANGLES))
        fits = torch.fft.irfft2(conjugate[:, None] * torch.fft.rfft2(turned), s=(size, size))
        near = torch.roll(fits, (_REACH, _REACH), (2, 3))[:, :, : 2 * _REACH + 1, : 2 * _REACH + 1]
        value, place = near.flatten(1).max(1)
        width = 2 * _REACH + 1
        best.append(value)
        angles.append(_ANGLES[place // width**2])
        # The peak lies where the second image is, so it has to go back.
        moves.append(torch.stack([_REACH - place // width % width, _REACH - place % width], 1))
    return torch.stack(best, 1), torch.stack(angles, 1), torch.stack(moves, 1)


def _normalise(images: Tensor) -> Tensor:
    """Mean 0 and length 1."""
    centred = images - images.mean((-2, -1), keepdim=True)
    length: Tensor = centred.flatten(-2).norm(dim=-1)[..., None, None]
    return centred / length.clamp(min=1e-12)
