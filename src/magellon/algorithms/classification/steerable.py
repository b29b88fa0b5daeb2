"""Images as angular harmonics on rings of their transforms, and the few components in which their views differ.

Turned, an image keeps the size of its harmonics: that of order k is multiplied by a phase k times the angle. So all turned
copies of a view share their components (steerable principal components: Zhao, Shkolnisky & Singer 2016, IEEE Trans. Comput.
Imaging 2, 1, doi:10.1109/TCI.2016.2514700).

Angles here are radians in the image's polar coordinates, from x towards y, downward as rows are counted: the content of an
image that is turned by psi (`rotation`) has its angle lowered by psi.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.classification.disc import Disc, draw_images, image_size
from magellon.units import Pixel

_ANGLES = 72
"""Samples of a ring."""
_MARGIN = 1.02
"""Components stand out whose variance is that much larger than the largest that noise alone has."""


def find_harmonics(images: Tensor, radius: int, highest: int) -> Tensor:
    """Harmonics (n, radius, highest + 1), complex64, of orders 0..highest on the rings 1..radius of images (n, size, size).

    Rings are cycles per box; each counts by the root of its length.
    """
    rings = torch.arange(1, radius + 1, device=images.device).float()
    waves = _draw_waves(images.shape[-1], rings)
    half = (images.flatten(1).to(waves.dtype) @ waves.T).reshape(len(images), radius, _ANGLES // 2)
    whole = torch.cat([half, half.conj()], dim=-1) * rings.sqrt()[:, None]
    harmonics: Tensor = torch.fft.fft(whole, dim=-1)[..., : highest + 1] / _ANGLES
    return harmonics


def _draw_waves(size: Pixel, rings: Tensor) -> Tensor:
    """(rings * angles / 2, size²) what each pixel counts for in each sample of half a turn."""
    place = (torch.arange(size, device=rings.device) - size // 2).float()
    y, x = (each.reshape(1, -1) for each in torch.meshgrid(place, place, indexing="ij"))
    angle = torch.arange(_ANGLES // 2, device=rings.device) * (2 * math.pi / _ANGLES)
    k_y, k_x = ((rings[:, None] * part / size).reshape(-1, 1) for part in (torch.sin(angle), torch.cos(angle)))
    turn = -2 * math.pi * (k_y * y + k_x * x)
    return torch.complex(torch.cos(turn), torch.sin(turn)) / size


@dataclass(frozen=True)
class Components:
    """What images are projected on: (M,) components, in which noise has variance 1."""

    means: tuple[Tensor, ...]
    """Of each order: (rings,) of the images; 0 but for order 0."""
    projections: tuple[Tensor, ...]
    """Of each order: (rings, m)."""
    orders: Tensor
    """(M,) int64: the order of each component."""
    signal: Tensor
    """(M,) variance over the images beyond the noise's."""

    def project(self, harmonics: Tensor) -> Tensor:
        """(n, M) complex64 of harmonics (n, rings, orders)."""
        parts = [
            (harmonics[..., order] - mean) @ projection
            for order, (mean, projection) in enumerate(zip(self.means, self.projections, strict=True))
        ]
        return torch.cat(parts, dim=1)


def find_components(harmonics: Tensor, noise: Tensor) -> Components:
    """Principal components of images, those that stand out of the noise (Baik, Ben Arous & Péché 2005).

    Args:
        harmonics: (n, rings, orders) of the images.
        noise: (orders, rings, rings) covariances of the noise's.
    """
    n, rings, count = harmonics.shape
    means, projections, orders, signal = [], [], [], []
    edge = _MARGIN * (1 + math.sqrt(rings / n)) ** 2
    for order in range(count):
        values = harmonics[..., order]
        mean = values.mean(0) if order == 0 else torch.zeros_like(values[0])
        lower = torch.linalg.cholesky(noise[order])
        white = torch.linalg.solve_triangular(lower, (values - mean).T, upper=False).T
        variance, vectors = torch.linalg.eigh(white.T @ white.conj() / n)
        keep = variance > edge
        means.append(mean)
        projections.append(torch.linalg.solve_triangular(lower.T, vectors.conj()[:, keep], upper=True))
        orders.append(torch.full((int(keep.sum()),), order, device=values.device))
        signal.append(variance[keep] - 1)
    return Components(tuple(means), tuple(projections), torch.cat(orders), torch.cat(signal))


def noise_covariance(disc: Disc, highest: int) -> Tensor:
    """(highest + 1, rings, rings): of the harmonics of white noise that fills the box."""
    size = image_size(disc.radius)
    one = torch.eye(len(disc.rows), device=disc.rows.device)
    images = torch.cat([draw_images(torch.complex(*parts), disc, size) for parts in ((one, 0 * one), (0 * one, one))])
    harmonics = find_harmonics(images, disc.radius, highest).permute(2, 1, 0)
    covariance = harmonics @ harmonics.conj().transpose(1, 2) / 2  # real and imaginary part have half of the variance each
    level = covariance.diagonal(dim1=1, dim2=2).real.mean(1)
    return covariance + 1e-4 * level[:, None, None] * torch.eye(disc.radius, device=level.device)
