"""Normalisation of boxes to their background: the pixels outside a circle around the centre.

Sums are taken in float64 along one axis after the other, so that they do not depend on the number of threads.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.units import Pixel


@dataclass(frozen=True)
class Background:
    """The ring of background pixels of a box and the moments of a plane over it."""

    mask: Tensor
    """(n, n) float64, 1 where the distance from pixel [n // 2, n // 2] is greater than the radius."""
    position: Tensor
    """(n,) float64: the pixel's place relative to n // 2."""

    @classmethod
    def of_box(cls, box: Pixel, radius: Pixel, device: torch.device | str = "cpu") -> "Background":
        """The pixels further than `radius` from the centre of a box.

        Raises:
            ValueError: the circle does not fit into the box.
        """
        if not 0 < 2 * radius <= box:
            raise ValueError(f"a background radius of {radius} px does not fit into a box of {box} px")
        position = torch.arange(box, device=device, dtype=torch.float64) - box // 2
        mask = (position[:, None] ** 2 + position**2 > radius**2).double()
        return cls(mask, position)

    def statistics(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the background of (..., n, n): two float64 tensors of shape (..., 1, 1)."""
        count = self.mask.sum()
        mean = _sum(boxes.double() * self.mask) / count
        variance = _sum((boxes.double() - mean) ** 2 * self.mask) / count
        return mean, variance.sqrt()


def remove_dust(boxes: Tensor, background: Background, white: float, black: float, generator: torch.Generator) -> Tensor:
    """Replace pixels far from the background's mean by noise of the background's mean and deviation.

    Args:
        boxes: (..., n, n).
        white: standard deviations above which a pixel is dust; 0: none is.
        black: the same below the mean.
        generator: of the CPU; the noise does not depend on the device.
    """
    if white <= 0 and black <= 0:
        return boxes
    mean, deviation = background.statistics(boxes)
    relative = (boxes - mean) / deviation.clamp(min=1e-30)
    dust = torch.zeros_like(relative, dtype=torch.bool)
    if white > 0:
        dust |= relative > white
    if black > 0:
        dust |= relative < -black
    noise = torch.randn(boxes.shape, generator=generator, dtype=torch.float64).to(boxes.device)
    return torch.where(dust, (mean + deviation * noise).to(boxes), boxes)


def subtract_plane(boxes: Tensor, background: Background) -> Tensor:
    """Subtract the plane a + b y + c x that fits the background of each box (..., n, n) best in the least-squares sense."""
    mask, position = background.mask, background.position
    y, x = position[:, None], position[None, :]
    ones = torch.ones_like(mask)
    basis = [ones, y * ones, x * ones]
    normal = torch.stack([torch.stack([(mask * first * second).sum() for second in basis]) for first in basis])
    weighted = boxes.double() * mask
    by_row = weighted.sum(-1)
    by_column = weighted.sum(-2)
    moments = torch.stack([by_row.sum(-1), (by_row * position).sum(-1), (by_column * position).sum(-1)], dim=-1)
    a, b, c = (moments[..., None, :] * torch.linalg.inv(normal)).sum(-1).unbind(-1)
    plane: Tensor = (a[..., None] + b[..., None] * position)[..., :, None] + c[..., None, None] * position
    return torch.sub(boxes, plane).to(boxes.dtype)


def normalise_boxes(boxes: Tensor, background: Background) -> Tensor:
    """Give the background of each box (..., n, n) mean 0 and standard deviation 1; a constant background stays unscaled."""
    mean, deviation = background.statistics(boxes)
    return ((boxes - mean) / torch.where(deviation < 1e-10, 1.0, deviation)).to(boxes)


def _sum(values: Tensor) -> Tensor:
    return values.sum(-1, keepdim=True).sum(-2, keepdim=True)
