"""Local maxima of score maps, the best first, none closer to a better one than asked."""

from dataclasses import dataclass

import torch
from torch import Tensor


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


def find_maxima(scores: Tensor, usable: Tensor, distance: float) -> tuple[Tensor, Tensor]:
    """Local maxima of a map, none nearer than `distance` to a better one.

    A local maximum is the highest value of the square that reaches `distance` / 2 to each side.
    Ties are decided by position, so that the answer never depends on the order of computation.

    Args:
        scores: (height, width).
        usable: (height, width) bool; only there can a maximum be.
        distance: in cells.

    Returns:
        (n, 2) float64 positions (y, x), refined below a cell by a parabola, and (n,) values at them; best first.
    """
    masked = scores.masked_fill(~usable, -torch.inf)
    reach = max(1, int(distance / 2))
    highest = torch.nn.functional.max_pool2d(masked[None, None], 2 * reach + 1, stride=1, padding=reach)[0, 0]
    rows, columns = ((masked == highest) & usable).nonzero(as_tuple=True)
    values = scores[rows, columns]
    order = torch.sort(values, descending=True, stable=True).indices
    rows, columns, values = rows[order], columns[order], values[order]
    positions = torch.stack([rows, columns], dim=-1).to(torch.float64)
    kept = suppress_neighbours(positions, distance)
    rows, columns = rows[kept], columns[kept]
    return _refine(scores, rows, columns), values[kept].to(torch.float64)


def suppress_neighbours(positions: Tensor, distance: float) -> Tensor:
    """Indices of those positions, given best first, that have no kept better one nearer than `distance`.

    Greedy suppression in rounds: in each round every undecided position without an undecided better neighbour is kept, and
    its neighbours fall. A few rounds decide all, whatever their number.

    Args:
        positions: (n, 2), best first.
    """
    count = positions.shape[0]
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
        part = positions[start : start + block]
        difference = part[:, None, :] - positions[None, start:, :]
        near = (difference**2).sum(-1) < distance**2
        i, j = near.nonzero(as_tuple=True)
        ahead = j > i
        firsts.append(i[ahead] + start)
        seconds.append(j[ahead] + start)
    if not firsts:
        empty = torch.zeros(0, dtype=torch.long, device=positions.device)
        return empty, empty
    return torch.cat(firsts), torch.cat(seconds)


def _refine(scores: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Add to each integer maximum the vertex of the parabola through its neighbours, at most half a cell away."""
    height, width = scores.shape
    centre = scores[rows, columns].to(torch.float64)

    def offset(before: Tensor, after: Tensor) -> Tensor:
        curvature = (2 * centre - before - after).clamp(min=1e-12)
        return ((after - before) / (2 * curvature)).clamp(-0.5, 0.5)

    up, down = scores[(rows - 1).clamp(min=0), columns], scores[(rows + 1).clamp(max=height - 1), columns]
    left, right = scores[rows, (columns - 1).clamp(min=0)], scores[rows, (columns + 1).clamp(max=width - 1)]
    y = rows + offset(up.to(torch.float64), down.to(torch.float64))
    x = columns + offset(left.to(torch.float64), right.to(torch.float64))
    return torch.stack([y, x], dim=-1)
