"""Remove from a polar spectrum what changes slowly with direction.

Square pixels, read-out and image processing make the background fall off differently along the axes and the diagonals. A
likelihood with an isotropic background would take that for the rings of a strongly astigmatic CTF at low defocus.
"""

from dataclasses import replace

import torch

from magellon.algorithms.ctf.splines import solve_symmetric, spline_basis
from magellon.algorithms.spectrum.polar import PolarSpectrum

RADIAL_KNOTS = 5
HARMONICS = (2, 4)
"""Of the direction: two-fold, as from drift or different rows and columns; four-fold, as from square pixels."""


def remove_anisotropy(polar: PolarSpectrum) -> PolarSpectrum:
    """The spectrum divided by a fitted 1 + sum of radial splines times cos and sin of multiples of the direction."""
    count = polar.count.double()
    total = count.sum(dim=1, keepdim=True).clamp(min=1)
    power = polar.power.double()
    relative = power / ((power * count).sum(dim=1, keepdim=True) / total).clamp(min=1e-30) - 1
    theta = polar.theta.double()
    waves = torch.stack([wave(order * theta) for order in HARMONICS for wave in (torch.cos, torch.sin)])
    radial = spline_basis(polar.ring_k.double(), RADIAL_KNOTS)
    weighted = waves * count
    moments = (weighted[:, None] * waves[None]).sum(dim=3)
    size = len(waves) * RADIAL_KNOTS
    matrix = torch.einsum("rk,wvr,rl->wkvl", radial, moments, radial).reshape(size, size)
    vector = torch.einsum("rk,wr->wk", radial, (weighted * relative).sum(dim=2)).reshape(size)
    coefficients = solve_symmetric(matrix, vector).reshape(len(waves), RADIAL_KNOTS)
    course = ((radial @ coefficients.T).T[:, :, None] * waves).sum(dim=0)
    return replace(polar, power=(power / (1 + course).clamp(min=0.2)).float())
