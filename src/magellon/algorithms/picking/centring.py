"""Where a pick's centre is: what the network says of it, and where the pick is most like the others of its micrograph.

The network knows no protein; the rotational mean of the picks shows this one, and its matched filter (see `likeness`) peaks at
centres. But a mean over all views is lopsided for each, and a clear particle is centred better by the network alone. So the
network's doubt decides: its cells about a pick each say where the centre is, and the more they differ the less they know. Its
answer is the prior, the filter's the likelihood, and the mean of the posterior the centre.
"""

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from magellon.algorithms.picking.network import CENTRE, OFFSET_X, OFFSET_Y, STRIDE
from magellon.algorithms.picking.view import CELLS_PER_DIAMETER

DOUBT_TO_VARIANCE = 8.0
"""Square cells of the view, along each axis, by which the network errs where its cells' answers vary by a square cell."""
LEAST_VARIANCE, MOST_VARIANCE = 0.01, 1.0
TOO_DOUBTFUL = 0.14
"""Doubt of most of a micrograph's picks beyond which particles are long, and no round mean knows their middle."""
TRUST = 1.5
"""In the filter: of its response a particle is worth less than its strength tells, for it is no mean of all views."""
REACH, PER_CELL = 3, 2
"""Cells to each side that are looked at, and looks per cell."""


def measure_doubt(output: Tensor, positions: Tensor) -> Tensor:
    """(n,) float64 variance, in square output cells, of where the nine cells about a position see the centre.

    Args:
        output: (4, h, w) of the network.
        positions: (n, 2) float64, (y, x) in cells of the view.
    """
    line = torch.arange(-1, 2, device=output.device)
    steps = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).reshape(1, -1, 2)
    highest = torch.tensor(output.shape[-2:], device=output.device) - 1
    cells = (((positions + 0.5) / STRIDE - 0.5).round().long()[:, None] + steps).clamp(min=0).minimum(highest)
    there = output[:, cells[..., 0], cells[..., 1]].to(torch.float64)
    weights = torch.sigmoid(there[CENTRE])
    weights = (weights / weights.sum(1, keepdim=True).clamp(min=1e-12))[..., None]
    votes = cells + there[OFFSET_Y : OFFSET_X + 1].permute(1, 2, 0)
    mean = (votes * weights).sum(1, keepdim=True)
    return ((votes - mean).square() * weights).sum((1, 2))


def recentre(answer: Tensor, positions: Tensor, doubt: Tensor, separation: float) -> Tensor:
    """(n, 2) float64 positions, moved where the network doubts them and the filter knows better.

    Args:
        answer: (height, width) of the filter, in standard deviations.
        positions: (n, 2) float64, (y, x) in cells of the view.
        doubt: (n,) of each, see `measure_doubt`.
        separation: least distance that picks keep, in diameters.
    """
    if not len(positions) or float(doubt.median()) > TOO_DOUBTFUL:
        return positions
    line = torch.arange(-REACH * PER_CELL, REACH * PER_CELL + 1, device=answer.device) / PER_CELL
    steps = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).reshape(-1, 2).to(torch.float64)
    places = (positions[:, None] + steps).flip(-1)
    size = torch.tensor([answer.shape[1], answer.shape[0]], dtype=torch.float64, device=answer.device)
    grid = (2 * (places + 0.5) / size - 1).to(torch.float32)
    likelihood = torch.nn.functional.grid_sample(
        answer[None, None], grid[None], mode="bicubic", padding_mode="border", align_corners=False
    )[0, 0].to(torch.float64)
    variance = (DOUBT_TO_VARIANCE * doubt).clamp(LEAST_VARIANCE, MOST_VARIANCE)
    posterior = torch.softmax(TRUST * likelihood - steps.square().sum(-1) / (2 * variance[:, None]), dim=1)
    way = posterior @ steps
    return positions + way * _limit(way, positions, separation * CELLS_PER_DIAMETER)[:, None]


def _limit(way: Tensor, positions: Tensor, apart: float) -> Tensor:
    """(n,) part of the way that each may go, so that no two come nearer than `apart` cells."""
    if len(positions) < 2:
        return torch.ones(len(positions), dtype=way.dtype, device=way.device)
    known = positions.cpu().numpy()
    nearest = torch.from_numpy(np.asarray(cKDTree(known).query(known, k=2)[0])[:, 1]).to(way.device)
    part: Tensor = ((nearest - apart) / 2 / way.norm(dim=1).clamp(min=1e-9)).clamp(0, 1)
    return part
