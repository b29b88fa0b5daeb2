"""Views and what the network says of them in the eight positions of a square: what is a particle is one in all of them."""

import torch
from torch import Tensor

from magellon.algorithms.picking.network import OFFSET_X, OFFSET_Y

ROTATIONS = (0, 3, 5, 6)
"""By 0, 180, 90 and 270 degrees, of the positions 0 to 7."""


def turn(image: Tensor, position: int) -> Tensor:
    """(..., height, width) mirrored left-right (bit 0 of the position), top-bottom (1), after transposing it (2)."""
    image = image.transpose(-1, -2) if position & 4 else image
    return image.flip([axis for axis, bit in ((-1, 1), (-2, 2)) if position & bit])


def turn_back(image: Tensor, position: int) -> Tensor:
    """The inverse."""
    image = image.flip([axis for axis, bit in ((-1, 1), (-2, 2)) if position & bit])
    return image.transpose(-1, -2) if position & 4 else image


def turn_offset(offset: Tensor, position: int) -> Tensor:
    """Ways (..., 2, height, width), (y, x), turned with their image: they point elsewhere then."""
    moved = turn(offset, position)
    moved = moved.flip(-3) if position & 4 else moved
    return moved * _signs(position).to(moved)


def turn_output_back(output: Tensor, position: int) -> Tensor:
    """The network's (n, 4, height, width) for a turned view, as it would be for the view itself."""
    moved = turn_back(output, position)
    offset = moved[:, OFFSET_Y : OFFSET_X + 1] * _signs(position).to(moved)
    offset = offset.flip(1) if position & 4 else offset
    return torch.cat([moved[:, :OFFSET_Y], offset, moved[:, OFFSET_X + 1 :]], dim=1)


def _signs(position: int) -> Tensor:
    """Of (y, x)."""
    return torch.tensor([-1.0 if position & 2 else 1.0, -1.0 if position & 1 else 1.0])[:, None, None]
