"""Turning references and sums of particles: exact band-limited images on a fine grid, interpolated linearly.

Linear interpolation is a convolution whose transform, a product of squared sinc functions, is divided out beforehand.

The angle is `rlnAnglePsi`: an object point (x, y) goes to (x cos psi + y sin psi, -x sin psi + y cos psi).
"""

import torch
from torch import Tensor

from magellon.algorithms.classification.disc import Disc, draw_images, image_size, squared_modulus, take_coefficients

_FINER = 2
"""Pixels of the grid that is interpolated, per pixel of the images."""


def turn_references(references: Tensor, disc: Disc, angles: Tensor) -> Tensor:
    """Every reference at every angle.

    Args:
        references: (K, d).
        angles: (R,) degrees.

    Returns:
        (K, R, d).
    """
    size = image_size(disc.radius)
    fine = _draw_finely(references, disc, size)
    grids = _make_grids(angles, size, references.device)
    turned = [take_coefficients(_sample(image.expand(len(grids), 1, *image.shape), grids), disc) for image in fine.unbind(0)]
    return torch.stack(turned)


def turn_back(sums: Tensor, disc: Disc, angles: Tensor) -> Tensor:
    """Sums (R, d) of particles that lie at angles (R,), each turned upright, added up: (d,)."""
    size = image_size(disc.radius)
    used = squared_modulus(sums).sum(-1) > 0
    if not bool(used.any()):
        return torch.zeros_like(sums[0])
    fine = _draw_finely(sums[used], disc, size)
    upright = _sample(fine[:, None], _make_grids(-angles[used], size, sums.device))
    return take_coefficients(upright.sum(0), disc)


def turn_images(images: Tensor, angles: Tensor) -> Tensor:
    """Images (B, n, n) about pixel [n // 2, n // 2], each turned by its own angle (B,), by cubic interpolation."""
    size = images.shape[-1]
    grids = _make_grids(angles, size, images.device, finer=1)
    return torch.nn.functional.grid_sample(images[:, None], grids, mode="bicubic", padding_mode="border", align_corners=True)[
        :, 0
    ]


def _draw_finely(coefficients: Tensor, disc: Disc, size: int) -> Tensor:
    fine = size * _FINER
    spread = torch.sinc(disc.rows / fine) ** 2 * torch.sinc(disc.columns / fine) ** 2
    return draw_images(coefficients / spread, disc, fine) * _FINER


def _make_grids(angles: Tensor, size: int, device: torch.device, finer: int = _FINER) -> Tensor:
    """Where to look in the fine image for each pixel of the turned one: (R, size, size, 2), in `grid_sample`'s units."""
    radians = torch.deg2rad(angles.to(device)).float()[:, None, None]
    place = (torch.arange(size, device=device) - size // 2).float()
    y, x = place[:, None], place[None, :]
    cos, sin = torch.cos(radians), torch.sin(radians)
    fine = size * finer
    points = torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1) * finer + fine // 2
    return points * (2 / (fine - 1)) - 1


def _sample(fine: Tensor, grids: Tensor) -> Tensor:
    return torch.nn.functional.grid_sample(fine, grids, mode="bilinear", padding_mode="border", align_corners=True)[:, 0]
