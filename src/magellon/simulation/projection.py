"""Projections and maps of atomic models, straight from the atoms: no map is interpolated, no resolution is lost.

Atoms are spread bilinearly on a grid twice as fine as the pixels; the transform of that is corrected for the spreading and
multiplied by the atoms' form factors.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.simulation.phantoms import AtomicModel
from magellon.simulation.scattering import form_factors_in_ice

OVERSAMPLING = 2
_CHUNK = 500_000
"""Atoms spread at a time."""


@dataclass(frozen=True)
class Grid:
    """Square boxes whose particle lies at pixel [box // 2, box // 2]."""

    box: int
    pixel_size: float


def euler_matrices(rot: NDArray[np.float64], tilt: NDArray[np.float64], psi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (n, 3, 3) from object to image, RELION's ZYZ angles in degrees: Rz(psi) Ry(tilt) Rz(rot), passive.

    The first two rows give the image's x and y of an object point; psi turns (x, y) into
    (x cos psi + y sin psi, -x sin psi + y cos psi).
    """
    ca, cb, cg = (np.cos(np.radians(angle)) for angle in (rot, tilt, psi))
    sa, sb, sg = (np.sin(np.radians(angle)) for angle in (rot, tilt, psi))
    rows = [
        [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
        [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
        [sb * ca, sb * sa, cb],
    ]
    return np.moveaxis(np.array([[np.broadcast_to(value, np.shape(rot)) for value in row] for row in rows]), -1, 0)


def fitting_box(model: AtomicModel, pixel_size: float, margin: float = 16.0) -> int:
    """The smallest even box without large prime factors that holds the model and `margin` Å on each side."""
    return fast_size(int(np.ceil((model.diameter + 2 * margin) / pixel_size)))


def fast_size(minimum: int) -> int:
    """The smallest even number, at least `minimum`, with no prime factor above 5."""
    size = minimum + minimum % 2
    while _without_small_factors(size) != 1:
        size += 2
    return size


def project_atoms(model: AtomicModel, frames: NDArray[np.float64], grid: Grid, kept: NDArray[np.bool_] | None = None) -> Tensor:
    """Transforms of projected potentials in V Å, the ice they displace subtracted.

    Args:
        frames: (n, 2, 3): from object to image x and y, in Å; magnification may be part of it.
        kept: (n, atoms): which atoms each particle still has; None: all.

    Returns:
        (n, box, box // 2 + 1), the particle centred at [box // 2, box // 2].
    """
    factors = _spreading_correction(model, grid)
    atoms = len(model.positions)
    step = max(1, _CHUNK // atoms)
    transforms = [
        _project_chunk(model, frames[start : start + step], grid, None if kept is None else kept[start : start + step], factors)
        for start in range(0, len(frames), step)
    ]
    if not transforms:
        return torch.zeros(0, grid.box, grid.box // 2 + 1, dtype=torch.complex64)
    return torch.cat(transforms)


def render_map(model: AtomicModel, grid: Grid) -> Tensor:
    """The potential itself in V, (z, y, x) of a cube, the ice it displaces subtracted."""
    fine = grid.box * OVERSAMPLING
    centred = model.positions[:, ::-1].astype(np.float64) * (OVERSAMPLING / grid.pixel_size) + fine // 2
    k = torch.fft.fftfreq(grid.box, d=grid.pixel_size)
    half = torch.fft.rfftfreq(grid.box, d=grid.pixel_size)
    k_squared = (k[:, None, None] ** 2 + k[None, :, None] ** 2) + half[None, None, :] ** 2
    spreading = [torch.sinc(axis * grid.pixel_size / OVERSAMPLING) ** 2 for axis in (k, k, half)]
    total = torch.zeros(grid.box, grid.box, grid.box // 2 + 1, dtype=torch.complex64)
    rows = torch.cat([torch.arange(grid.box // 2), torch.arange(fine - grid.box // 2, fine)])
    factors = form_factors_in_ice(model.species, k_squared, model.b_factor)
    for species in range(len(model.species)):
        counts = _spread(centred[None, model.elements == species], fine)
        transform = torch.fft.rfftn(counts[0], dim=(-3, -2, -1))
        total += transform[rows][:, rows, : grid.box // 2 + 1] * factors[species]
    total /= spreading[0][:, None, None] * spreading[1][None, :, None] * spreading[2][None, None, :]
    for axis, nyquist in enumerate((grid.box // 2, grid.box // 2, grid.box // 2)):
        total.select(axis, nyquist).zero_()
    volume: Tensor = torch.fft.irfftn(total, s=(grid.box,) * 3) / grid.pixel_size**3
    return volume


def _project_chunk(
    model: AtomicModel, frames: NDArray[np.float64], grid: Grid, kept: NDArray[np.bool_] | None, factors: Tensor
) -> Tensor:
    fine = grid.box * OVERSAMPLING
    # On the fine grid the centre is box, so that pixel box // 2 of the coarse grid is the same point.
    scaled = (frames * (OVERSAMPLING / grid.pixel_size)).astype(np.float32)
    total = torch.zeros(len(frames), grid.box, grid.box // 2 + 1, dtype=torch.complex64)
    rows = torch.cat([torch.arange(grid.box // 2), torch.arange(fine - grid.box // 2, fine)])
    for species in range(len(model.species)):
        chosen = model.elements == species
        if not chosen.any():
            continue
        # (n, atoms, 2) as (y, x).
        points = model.positions[chosen] @ np.swapaxes(scaled[:, ::-1], 1, 2) + np.float32(fine // 2)
        counts = _spread(points, fine, None if kept is None else kept[:, chosen])
        transform = torch.fft.rfft2(counts)
        total += transform[:, rows, : grid.box // 2 + 1] * factors[species]
    return total


def _spreading_correction(model: AtomicModel, grid: Grid) -> Tensor:
    """Form factors in V Å³ over the pixel's area and the spreading's transform: (species, box, box // 2 + 1).

    Zero at Nyquist, where a row or column stands for two.
    """
    k_row, k_column = rfft_frequencies((grid.box, grid.box), grid.pixel_size)
    factors = form_factors_in_ice(model.species, k_row**2 + k_column**2, model.b_factor)
    fine = grid.pixel_size / OVERSAMPLING
    factors = factors / (torch.sinc(k_row * fine) ** 2 * torch.sinc(k_column * fine) ** 2) / grid.pixel_size**2
    factors[:, grid.box // 2, :] = 0
    factors[:, :, -1] = 0
    return factors


def _spread(points: NDArray[np.floating], size: int, kept: NDArray[np.bool_] | None = None) -> Tensor:
    """Count points (n, atoms, d), in pixels, on grids of `size`, linearly shared between neighbours: (n, size, ..., size)."""
    n, _, dimensions = points.shape
    whole = np.floor(points).astype(np.int64)
    part = (points - whole).astype(np.float32)
    image = np.arange(n)[:, None]
    inside = np.all((whole >= 0) & (whole < size - 1), axis=-1)
    if kept is not None:
        inside &= kept
    indices, weights = [], []
    for corner in range(2**dimensions):
        index = image
        weight = inside.astype(np.float32)
        for axis in range(dimensions):
            bit = (corner >> axis) & 1
            index = index * size + np.where(inside, whole[..., axis] + bit, 0)
            weight = weight * (part[..., axis] if bit else 1 - part[..., axis])
        indices.append(index.ravel())
        weights.append(weight.ravel())
    total = np.bincount(np.concatenate(indices), np.concatenate(weights), minlength=n * size**dimensions)
    return torch.from_numpy(total.astype(np.float32)).reshape(n, *[size] * dimensions)


def _without_small_factors(number: int) -> int:
    for factor in (2, 3, 5):
        while number % factor == 0:
            number //= factor
    return number
