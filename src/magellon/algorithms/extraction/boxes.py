"""Where boxes lie on a micrograph, and cutting them out without interpolation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.units import Pixel


@dataclass(frozen=True)
class BoxOutside:
    """Which boxes leave the micrograph: (n,) booleans."""

    centre: Tensor
    """The box's centre is not a pixel of the micrograph: nothing sensible can be cut."""
    edge: Tensor
    """The centre is inside, part of the box is not."""


def round_coordinates(coordinates: Tensor) -> tuple[Tensor, Tensor]:
    """The pixel nearest to each coordinate, and what is left of it.

    RELION truncates coordinates when it extracts, which moves particles by half a pixel on average and costs resolution; an
    integer coordinate with the rest in the origin columns means the same to it and to everyone else.

    Args:
        coordinates: (n, 2), (y, x) in pixels, 0-based, pixel centres at integers.

    Returns:
        (n, 2) int64 nearest pixels (halves up), and (n, 2) float64 `nearest - coordinates`, within [-0.5, 0.5].
    """
    exact = coordinates.double()
    nearest = torch.floor(exact + 0.5)
    return nearest.long(), nearest - exact


def find_outside(centres: Tensor, box: Pixel, shape: tuple[Pixel, Pixel]) -> BoxOutside:
    """Which boxes of `box` pixels around integer `centres` (n, 2) leave a micrograph of `shape` (height, width)."""
    size = torch.tensor(shape, device=centres.device)
    outside = ((centres < 0) | (centres >= size)).any(-1)
    return BoxOutside(centre=outside, edge=_reach_beyond(centres, box, shape) & ~outside)


def crop_boxes(image: Tensor, centres: Tensor, box: Pixel) -> Tensor:
    """Cut boxes whose pixel [box // 2, box // 2] is the given pixel; beyond the edge the nearest edge pixel is repeated.

    Args:
        image: (height, width).
        centres: (n, 2) int64, (y, x).

    Returns:
        (n, box, box).
    """
    edge = _reach_beyond(centres, box, image.shape)
    if not bool(edge.any()):
        return _crop_inside(image, centres, box)
    boxes = image.new_empty(len(centres), box, box)
    boxes[~edge] = _crop_inside(image, centres[~edge], box)
    boxes[edge] = _crop_repeating_edges(image, centres[edge], box)
    return boxes


def _reach_beyond(centres: Tensor, box: Pixel, shape: Sequence[Pixel]) -> Tensor:
    first = centres - box // 2
    return ((first < 0) | (first + box > torch.tensor(shape, device=centres.device))).any(-1)


def _crop_inside(image: Tensor, centres: Tensor, box: Pixel) -> Tensor:
    """Copies whole rows of boxes: several times faster than picking pixels."""
    height, width = image.shape
    pieces = image.contiguous().as_strided((height * width - box + 1, box), (1, 1))
    rows = centres[:, 0, None] - box // 2 + torch.arange(box, device=image.device)
    starts = rows * width + (centres[:, 1, None] - box // 2)
    return torch.index_select(pieces, 0, starts.flatten()).reshape(len(centres), box, box)


def _crop_repeating_edges(image: Tensor, centres: Tensor, box: Pixel) -> Tensor:
    height, width = image.shape
    offsets = torch.arange(box, device=image.device) - box // 2
    rows = (centres[:, 0, None] + offsets).clamp(0, height - 1)
    columns = (centres[:, 1, None] + offsets).clamp(0, width - 1)
    return image[rows[:, :, None], columns[:, None, :]]
