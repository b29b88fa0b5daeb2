"""How good candidates with probabilities are, against known centres: precision, recall, average precision, calibration."""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.picking.view import CELLS_PER_DIAMETER

MATCH_DIAMETERS = 0.35
"""A candidate this near to a centre is that particle."""
THRESHOLD = 0.5


@dataclass(frozen=True)
class PickingScore:
    """Over all thresholds the average precision (area under precision against recall), at the default one the others."""

    average_precision: float
    precision: float
    recall: float
    f1: float
    curve: tuple[tuple[float, float], ...]
    """(recall, precision) at falling thresholds, at most about 100 points."""


def match_candidates(positions: Tensor, centres: Tensor, doubtful: Tensor) -> tuple[Tensor, Tensor]:
    """Which candidates are particles, the best taking the nearest free centre first; and which can be judged.

    Args:
        positions: (n, 2), best first, in cells.
        centres: (m, 2).
        doubtful: (k, 2): a candidate near one of these, and near no centre, is left out.

    Returns:
        (n,) bool each: hit, sure.
    """
    reach = MATCH_DIAMETERS * CELLS_PER_DIAMETER
    hit = torch.zeros(positions.shape[0], dtype=torch.bool)
    distance = torch.cdist(positions.to(torch.float64), centres.to(torch.float64)) if len(centres) else torch.zeros(len(hit), 0)
    near = (distance <= reach).nonzero()
    taken: set[int] = set()
    # Few pairs are near, as candidates do not crowd; they come in the order of the candidates.
    for candidate, options in _group(near, distance):
        free = [centre for centre in options if centre not in taken]
        if free:
            hit[candidate] = True
            taken.add(free[0])
    sure = torch.ones_like(hit)
    if len(doubtful) and len(positions):
        away = torch.cdist(positions.to(torch.float64), doubtful.to(torch.float64)).min(dim=1).values
        sure = hit | (away > reach)
    return hit, sure


def _group(near: Tensor, distance: Tensor) -> list[tuple[int, list[int]]]:
    """Candidate > its centres, nearest first."""
    options: dict[int, list[int]] = {}
    for candidate, centre in near.tolist():
        options.setdefault(candidate, []).append(centre)
    return [(key, sorted(values, key=lambda centre: float(distance[key, centre]))) for key, values in options.items()]


def score_candidates(scores: Tensor, hits: Tensor, particles: int) -> PickingScore:
    """Score candidates (n,) of one or several micrographs that hold so many particles."""
    order = torch.sort(scores, descending=True, stable=True).indices
    found = hits[order].to(torch.float64).cumsum(0)
    if particles == 0 or not len(order):
        return PickingScore(0.0, 0.0, 0.0, 0.0, ())
    precision = found / torch.arange(1, len(order) + 1)
    average = float((precision * hits[order]).cumsum(0)[-1]) / particles
    picked = int((scores >= THRESHOLD).sum())
    right = float(found[picked - 1]) if picked else 0.0
    step = max(1, len(order) // 100)
    curve = zip((found / particles)[::step].tolist(), precision[::step].tolist(), strict=True)
    return PickingScore(
        min(1.0, average),
        right / max(1, picked),
        right / particles,
        2 * right / (picked + particles),
        tuple((round(recall, 4), round(value, 4)) for recall, value in curve),
    )


def calibration_error(scores: Tensor, hits: Tensor, groups: int = 10) -> float:
    """Mean difference of probability said and found, over groups of equal probability width, by their size (Naeini 2015)."""
    if not len(scores):
        return 0.0
    group = (scores * groups).long().clamp(0, groups - 1)
    counts = torch.bincount(group, minlength=groups).to(torch.float64)
    said = torch.bincount(group, scores.to(torch.float64), groups)
    true = torch.bincount(group, hits.to(torch.float64), groups)
    return float((said - true).abs().sum() / counts.sum())
