"""What the picking network is taught with: targets from known centres, and the loss.

The centre's target is a small Gaussian bump, and the loss its cross-entropy, so that the network learns a probability.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.picking.network import CENTRE, DIRT, OFFSET_X, OFFSET_Y, STRIDE

BUMP_SIGMA = 1.0
"""Output cells."""
REACH = 3
"""Output cells to each side that a bump covers."""
DOUBT_RADIUS = 4.0
"""Output cells about a doubtful particle from which nothing is learned: half a diameter."""
CENTRE_WEIGHT, OFFSET_WEIGHT, DIRT_WEIGHT = 20.0, 0.5, 0.5


@dataclass(frozen=True)
class Target:
    """Of a batch: (n, h, w) at the output's resolution, and (n, 2, h, w) the offset (y, x) to the nearest centre."""

    bumps: Tensor
    offset: Tensor
    counts: Tensor
    """Weight of each cell in learning centres; 0 where it is not known."""
    dirt: Tensor
    dirt_known: Tensor
    """(n, h, w) weights."""


def make_target(shape: tuple[int, int], centres: Tensor, doubtful: Tensor, dirt: Tensor | None) -> Target:
    """The target of one view.

    Args:
        shape: (height, width) of the view.
        centres: (n, 2) float64, (y, x) in cells of the view.
        doubtful: (m, 2), near which nothing is learned about centres.
        dirt: (height, width) bool; None: not known.
    """
    height, width = shape[0] // STRIDE, shape[1] // STRIDE
    bumps, offset = draw_bumps((height, width), to_output(centres))
    unknown, _ = draw_bumps((height, width), to_output(doubtful), reach=int(DOUBT_RADIUS), sigma=DOUBT_RADIUS / 2)
    counts = ((unknown < 0.13) | (bumps > 0.3)).to(torch.float32)
    known = torch.ones_like(bumps)
    if dirt is None:
        mask, known = torch.zeros_like(bumps), torch.zeros_like(bumps)
    else:
        mask = torch.nn.functional.avg_pool2d(dirt[None, None].to(torch.float32), STRIDE)[0, 0]
    return Target(bumps[None], offset[None], counts[None], mask[None], known[None])


def stack_targets(targets: list[Target]) -> Target:
    """Targets of one size as a batch."""
    names = ("bumps", "offset", "counts", "dirt", "dirt_known")
    return Target(*(torch.cat([getattr(each, name) for each in targets]) for name in names))


def picker_loss(output: Tensor, target: Target) -> Tensor:
    """Cross-entropy of centres and dirt, absolute error of the offsets near centres."""
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits
    centre = cross_entropy(output[:, CENTRE], target.bumps, weight=target.counts)
    near = target.bumps * (target.bumps > 0.3) * target.counts
    error = (output[:, OFFSET_Y : OFFSET_X + 1] - target.offset).abs().sum(1)
    offset = (error * near).sum() / near.sum().clamp(min=1)
    dirt = cross_entropy(output[:, DIRT], target.dirt, weight=target.dirt_known)
    return CENTRE_WEIGHT * centre + OFFSET_WEIGHT * offset + DIRT_WEIGHT * dirt


def draw_bumps(shape: tuple[int, int], centres: Tensor, reach: int = REACH, sigma: float = BUMP_SIGMA) -> tuple[Tensor, Tensor]:
    """Gaussian bumps at centres (n, 2), (y, x): the highest at each cell (h, w), and the way (2, h, w) to its centre."""
    height, width = shape
    line = torch.arange(-reach, reach + 1)
    steps = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1).reshape(1, -1, 2)
    cells = centres.round().long()[:, None] + steps
    way = centres[:, None] - cells
    values = torch.exp(-way.square().sum(-1) / (2 * sigma**2)).to(torch.float32)
    inside = ((cells >= 0) & (cells < torch.tensor([height, width]))).all(-1)
    index, values, way = (cells[..., 0] * width + cells[..., 1])[inside], values[inside], way[inside].to(torch.float32)
    bumps = torch.zeros(height * width).scatter_reduce_(0, index, values, "amax")
    offset = torch.zeros(height * width, 2)
    highest = values == bumps[index]
    offset[index[highest]] = way[highest]
    return bumps.reshape(shape), offset.T.reshape(2, height, width)


def to_output(cells: Tensor) -> Tensor:
    """Cells of the view as output cells: x' = (x + 0.5) / stride - 0.5."""
    return (cells + 0.5) / STRIDE - 0.5
