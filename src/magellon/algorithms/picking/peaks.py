"""Local maxima of score maps, the best first, none closer to a better one than asked."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.picking.field import highest_in_window


@dataclass(frozen=True)
class Peaks:
    """Picks, the best first.

    Attributes:
        coordinates: (n, 2) float64, (x, y) of the particle's centre in pixels of the micrograph, 0-based.
        scores: (n,) float64; what one means is said by the picker that made them.
        angles: (n,) float64, in-plane angle psi in degrees, or None.
        classes: (n,) int64, index from 0 of the template, or None.
    """

    coordinates: Tensor
    scores: Tensor
    angles: Tensor | None = None
    classes: Tensor | None = None

    def __len__(self) -> int:
        return self.scores.shape[0]

    def select(self, chosen: Tensor) -> "Peaks":
        """The picks at `chosen`, a mask or indices."""
        return Peaks(
            self.coordinates[chosen],
            self.scores[chosen],
            None if self.angles is None else self.angles[chosen],
            None if self.classes is None else self.classes[chosen],
        )


def find_maxima(scores: Tensor, usable: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Local maxima of a map: cells higher than all others of the square that reaches `reach` cells to each side.

    Ties are decided by position, so that the answer never depends on the order of computation.

    Args:
        scores: (height, width).
        usable: (height, width) bool; only there can a maximum be.

    Returns:
        (n, 2) int64 cells (y, x) and (n,) float64 values, highest first.
    """
    masked = scores.masked_fill(~usable, -torch.inf)
    cells = ((masked == highest_in_window(masked, 2 * reach + 1)) & usable).nonzero()
    values = scores[cells[:, 0], cells[:, 1]].to(torch.float64)
    order = torch.sort(values, descending=True, stable=True).indices
    return cells[order], values[order]


def suppress_neighbours(positions: Tensor, distance: float) -> Tensor:
    """Indices of those positions, given best first, that have no kept better one nearer than `distance`.

    Greedy suppression in rounds: in each round every undecided position without an undecided better neighbour is kept, and
    its neighbours fall. A few rounds decide all, whatever their number.

    Args:
        positions: (n, 2), best first.
    """
    count = positions.shape[0]
    positions = positions.to(torch.float64)
    first, second = _close_pairs(positions, distance)
    better, worse = torch.minimum(first, second), torch.maximum(first, second)
    undecided = torch.ones(count, dtype=torch.bool, device=positions.device)
    kept = torch.zeros_like(undecided)
    while bool(undecided.any()):
        live = undecided[better] & undecided[worse]
        blocked = torch.zeros_like(undecided)
        blocked[worse[live]] = True
        winners = undecided & ~blocked
        kept |= winners
        undecided &= ~winners
        undecided[worse[winners[better]]] = False
    return kept.nonzero().squeeze(-1)


def _close_pairs(positions: Tensor, distance: float, block: int = 2048) -> tuple[Tensor, Tensor]:
    """All pairs (i < j) nearer than `distance`, in blocks of rows so that memory stays bounded."""
    firsts, seconds = [], []
    for start in range(0, positions.shape[0], block):
        part, rest = positions[start : start + block], positions[start:]
        near = (part[:, None, 0] - rest[None, :, 0]) ** 2 + (part[:, None, 1] - rest[None, :, 1]) ** 2 < distance**2
        i, j = near.triu(1).nonzero(as_tuple=True)
        firsts.append(i + start)
        seconds.append(j + start)
    if not firsts:
        empty = torch.zeros(0, dtype=torch.long, device=positions.device)
        return empty, empty
    return torch.cat(firsts), torch.cat(seconds)


def refine_maxima(scores: Tensor, cells: Tensor) -> Tensor:
    """Add to each maximum the vertex of the parabola through its neighbours, at most half a cell away.

    Args:
        cells: (n, 2) int64, (y, x).

    Returns:
        (n, 2) float64, (y, x).
    """
    height, width = scores.shape
    rows, columns = cells[:, 0], cells[:, 1]
    centre = scores[rows, columns].to(torch.float64)

    def offset(before: Tensor, after: Tensor) -> Tensor:
        curvature = (2 * centre - before - after).clamp(min=1e-12)
        return ((after - before) / (2 * curvature)).clamp(-0.5, 0.5)

    up, down = scores[(rows - 1).clamp(min=0), columns], scores[(rows + 1).clamp(max=height - 1), columns]
    left, right = scores[rows, (columns - 1).clamp(min=0)], scores[rows, (columns + 1).clamp(max=width - 1)]
    y = rows + offset(up.to(torch.float64), down.to(torch.float64))
    x = columns + offset(left.to(torch.float64), right.to(torch.float64))
    return torch.stack([y, x], dim=-1)


def climb_to_maxima(scores: Tensor, positions: Tensor, reach: float) -> Tensor:
    """The local maximum above each position, by steepest ascent from its nearest cell; where that leads too far, the position.

    Args:
        scores: (height, width), smooth.
        positions: (n, 2) float64, (y, x), inside.
        reach: farthest way, in cells.

    Returns:
        (n, 2) float64, (y, x).
    """
    uphill = torch.nn.functional.max_pool2d(scores[None, None], 3, stride=1, padding=1, return_indices=True)[1].flatten()
    flat = positions.round().long()
    index = flat[:, 0] * scores.shape[1] + flat[:, 1]
    for _ in range(math.ceil(2 * reach)):
        index = uphill[index]
    cells = torch.stack([index // scores.shape[1], index % scores.shape[1]], dim=-1)
    tops = refine_maxima(scores, cells)
    far = (tops - positions).square().sum(-1) > reach**2
    return torch.where((far | (uphill[index] != index))[:, None], positions, tops)
