"""Which candidates are but a piece of a line: fringes along the beam's edge, strands, folds.

Wherever on a dark line one looks, it is as like the mean of round things as they are themselves. But it goes on: no particle is
dark over two diameters without a gap.
"""

import math

import torch
from torch import Tensor

from magellon.algorithms.picking.field import robust_scale, smooth
from magellon.algorithms.picking.view import CELLS_PER_DIAMETER

SIGMA = 2.0
"""Cells: blur at which a line is seen."""
STEP = 2
"""Cells between the places that are looked at, along the line and across it."""
ASIDE = 2
"""Cells by which a line may miss the candidate's centre."""
DIRECTIONS = 32
LEAST = 1.5
"""Spreads by which a line is darker than the ice, wherever it is least so."""
MORE = 2.0
"""Spreads by which a particle on a line is darker than the line where that is least dark."""
AT_ONCE = 1024
"""Candidates, for the sake of memory."""


def find_on_lines(image: Tensor, usable: Tensor, positions: Tensor) -> Tensor:
    """(n,) bool: on a line, straight and dark for a diameter to either side, and hardly darker than it.

    Args:
        image: (height, width), the view's first channel: particles are dark.
        usable: (height, width) bool, where the image is that of ice and particles.
        positions: (n, 2), (y, x) in cells of the view.
    """
    darkness = -smooth(image, SIGMA)
    centre, spread = robust_scale(darkness[usable])
    darkness = (darkness - centre) / max(spread, 1e-12)
    angle = torch.arange(DIRECTIONS, dtype=torch.float64, device=image.device) * (math.pi / DIRECTIONS)
    along = torch.stack([torch.sin(angle), torch.cos(angle)], dim=-1)
    across = torch.stack([torch.cos(angle), -torch.sin(angle)], dim=-1)
    steps = torch.arange(-CELLS_PER_DIAMETER, CELLS_PER_DIAMETER + 1, STEP, device=image.device)
    aside = torch.arange(-ASIDE, ASIDE + 1, STEP, device=image.device)
    ways = aside[:, None, None] * across[:, None, None] + steps[:, None] * along[:, None, None]
    lined = []
    for part in torch.split(positions, AT_ONCE):
        level = _read(darkness, part[:, None, None, None] + ways).amin(dim=3).amax(dim=(1, 2))
        lined.append((level >= LEAST) & (_read(darkness, part) < level + MORE))
    return torch.cat(lined)


def _read(image: Tensor, places: Tensor) -> Tensor:
    """The image (height, width) at places (..., 2), (y, x), between its cells; beyond its edge as at it."""
    height, width = image.shape
    size = torch.tensor([width, height], device=image.device)
    grid = (2 * (places.flip(-1) + 0.5) / size - 1).to(image.dtype).reshape(1, 1, -1, 2)
    values = torch.nn.functional.grid_sample(image[None, None], grid, padding_mode="border", align_corners=False)
    return values.reshape(places.shape[:-1])
