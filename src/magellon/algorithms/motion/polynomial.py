"""RELION's model of local motion (version 1): a polynomial of third order in time and second order in space.

Zivanov, Nakane & Scheres 2019 (doi:10.1107/S205225251801463X). Per axis 18 coefficients: for each of 1, x, x², y, y², xy the
powers z, z², z³; x and y run from -0.5 to 0.5 over the field, z counts frames from the first used one. There is no constant
term, so the first frame never moves. It describes the *correction*, minus the displacement.
"""

import torch
from torch import Tensor

from magellon.algorithms.motion.field import MotionField, grid_centres

COEFFICIENTS = 36


def polynomial_terms(points_px: Tensor, frames: int, shape: tuple[int, int]) -> Tensor:
    """The 18 products of space and time: (frames, ..., 18) at points (..., 2), (y, x) in pixels."""
    points = points_px.to(torch.float64)
    y, x = points[..., 0] / shape[0] - 0.5, points[..., 1] / shape[1] - 0.5
    space = torch.stack([torch.ones_like(x), x, x**2, y, y**2, x * y], dim=-1)
    z = torch.arange(frames, dtype=torch.float64)
    time = torch.stack([z, z**2, z**3], dim=-1)
    return torch.einsum("...s,ft->f...st", space, time).flatten(-2)


def fit_polynomial(field: MotionField) -> Tensor:
    """Project the local motion onto the polynomial by least squares over the field.

    Returns:
        (36,), float64: 18 coefficients of x, then 18 of y, of the correction beyond the global track, in pixels.
    """
    points = grid_centres(field.shape, (9, 9)).reshape(-1, 2)
    correction = field.track[:, None, :] - field.displacement(points)
    terms = polynomial_terms(points, field.frames, field.shape)
    # Columns of equal size: powers of z up to 10^6 would otherwise hide the others.
    scale = terms.abs().amax(dim=(0, 1)).clamp(min=1e-300)
    solution = torch.linalg.lstsq((terms / scale).flatten(0, 1), correction.flatten(0, 1), driver="gelsd").solution
    solution = solution / scale[:, None]
    return torch.cat([solution[:, 1], solution[:, 0]])


def polynomial_displacement(coefficients: Tensor, points_px: Tensor, frames: int, shape: tuple[int, int]) -> Tensor:
    """Local displacement (frames, ..., 2), (y, x) in pixels, that 36 coefficients of a correction describe."""
    terms = polynomial_terms(points_px, frames, shape)
    along_x, along_y = terms @ coefficients[:18].to(terms), terms @ coefficients[18:].to(terms)
    return -torch.stack([along_y, along_x], dim=-1)
