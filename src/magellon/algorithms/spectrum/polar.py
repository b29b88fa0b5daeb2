"""Polar averages: a spectrum reduced to rings and sectors, on which a CTF is fitted.

A full-size periodogram has the finest rings; averaged over small polar bins it keeps all that is known of the CTF, in some
ten thousand numbers that are almost independent.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from magellon.algorithms.spectrum.power import periodogram

SECTORS = 36
MAX_RINGS = 2048
AXIS_PX = 2
"""Frequencies this close to an axis are left out: image edges, gain errors and read-out patterns lie there."""


@dataclass(frozen=True)
class PolarSpectrum:
    """Mean power in rings and sectors. All tensors (rings, sectors), float32."""

    power: Tensor
    count: Tensor
    """Number of spectrum samples averaged; 0 where a bin is empty."""
    k_squared: Tensor
    """Mean squared frequency of the bin's samples, 1/Å²."""
    theta: Tensor
    """Mean direction, radians, -pi / 2 to pi / 2: atan2(k_row, k_column)."""
    ring_k: Tensor
    """(rings,) mean frequency of the ring, 1/Å."""

    def rings(self, lowest: float, highest: float) -> "PolarSpectrum":
        """Only the rings between two frequencies (1/Å)."""
        keep = ((self.ring_k >= lowest) & (self.ring_k <= highest)).nonzero().squeeze(-1)
        return PolarSpectrum(self.power[keep], self.count[keep], self.k_squared[keep], self.theta[keep], self.ring_k[keep])

    def scaled(self, pixel_size: float) -> "PolarSpectrum":
        """From cycles per pixel to 1/Å."""
        return PolarSpectrum(self.power, self.count, self.k_squared / pixel_size**2, self.theta, self.ring_k / pixel_size)


def polar_average_image(image: Tensor, pixel_size: float, sectors: int = SECTORS) -> PolarSpectrum:
    """The polar average of an image's periodogram.

    Args:
        image: (height, width), float32.
        pixel_size: Å/px.
    """
    height, width = image.shape
    return polar_average(periodogram(image), (height, width), pixel_size, sectors)


def polar_average_spectrum(power: Tensor, pixel_size: float, sectors: int = SECTORS) -> PolarSpectrum:
    """The polar average of a centred power spectrum.

    Args:
        power: (size, size), zero frequency at [size // 2, size // 2].
        pixel_size: Å/px of the image whose Nyquist frequency is the edge.
    """
    height, width = power.shape
    half_plane = torch.fft.ifftshift(power)[:, : width // 2 + 1]
    return polar_average(half_plane, (height, width), pixel_size, sectors)


def polar_average(half_plane: Tensor, shape: tuple[int, int], pixel_size: float, sectors: int = SECTORS) -> PolarSpectrum:
    """The polar average of power on the half plane (height, width // 2 + 1) of an image of `shape` and Å/px."""
    index, empty = _polar_bins(shape, sectors, str(half_plane.device))
    total = torch.zeros(empty.count.numel() + 1, dtype=torch.float32, device=half_plane.device)
    total.index_add_(0, index, half_plane.reshape(-1).float())
    mean = total[:-1].reshape(empty.count.shape) / empty.count.clamp(min=1)
    return PolarSpectrum(mean, empty.count, empty.k_squared, empty.theta, empty.ring_k).scaled(pixel_size)


@lru_cache(maxsize=4)
def _polar_bins(shape: tuple[int, int], sectors: int, device: str) -> tuple[Tensor, PolarSpectrum]:
    """The bin of each sample of the half plane (the last bin is for those left out), and an empty spectrum in cycles/px."""
    height, width = shape
    rings = min(MAX_RINGS, min(shape) // 2)
    rows = torch.fft.fftfreq(height, device=device)[:, None]
    columns = torch.fft.rfftfreq(width, device=device)[None, :]
    k_squared = rows**2 + columns**2
    theta = torch.atan2(rows.expand_as(k_squared), columns.expand_as(k_squared))
    ring = (k_squared.sqrt() * (2 * rings)).round().int()
    sector = ((theta / math.pi + 0.5) * sectors).int().clamp_(0, sectors - 1)
    bins = rings * sectors
    used = (ring < rings) & (columns * width >= AXIS_PX) & (rows.abs() * height >= AXIS_PX)
    index = torch.where(used, ring * sectors + sector, bins).reshape(-1)

    def mean_of(values: Tensor) -> Tensor:
        total = torch.zeros(bins + 1, dtype=torch.float64, device=device).index_add_(0, index, values.reshape(-1).double())
        return total[:-1].reshape(rings, sectors)

    count = mean_of(torch.ones_like(k_squared))
    safe = count.clamp(min=1)
    mean_k_squared = mean_of(k_squared)
    ring_count = count.sum(dim=1).clamp(min=1)
    ring_k = (mean_k_squared.sum(dim=1) / ring_count).sqrt()
    empty = count == 0
    centres = (torch.arange(sectors, device=device, dtype=torch.float64) + 0.5) * (math.pi / sectors) - math.pi / 2
    k_squared_bins = torch.where(empty, ring_k[:, None] ** 2, mean_k_squared / safe)
    theta_bins = torch.where(empty, centres.expand_as(empty), mean_of(theta) / safe)
    floats = [tensor.float() for tensor in (torch.zeros_like(count), count, k_squared_bins, theta_bins, ring_k)]
    return index, PolarSpectrum(*floats)
