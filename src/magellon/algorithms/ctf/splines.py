"""Smooth functions of frequency: cubic B-splines."""

import torch
from torch import Tensor


def spline_basis(k: Tensor, count: int) -> Tensor:
    """Values of `count` cubic B-splines over the range of `k`: (n, count), rows sum to 1.

    Knots are equally spaced in the square root of the frequency: spectra bend most at low frequency.

    Args:
        k: (n,) increasing.
        count: at least 4.
    """
    spans = count - 3
    root = k.sqrt()
    x = (root - root[0]) / (root[-1] - root[0]) * spans
    distance = (x[:, None] - torch.arange(count, dtype=k.dtype, device=k.device) + 1).abs()
    inner = 2 / 3 - distance**2 + distance**3 / 2
    outer = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, inner, outer)


def solve_symmetric(matrix: Tensor, vector: Tensor, ridge: float = 1e-9) -> Tensor:
    """Solve a positive semi-definite system after scaling its diagonal to one; `vector` is (..., n) or (..., n, m)."""
    scale = torch.diagonal(matrix, dim1=-2, dim2=-1).clamp(min=1e-30).rsqrt()
    scaled = matrix * scale[..., :, None] * scale[..., None, :]
    scaled = scaled + ridge * torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    columns = vector if vector.ndim == matrix.ndim else vector[..., None]
    solution: Tensor = scale[..., None] * torch.linalg.solve(scaled, scale[..., None] * columns)
    return solution if vector.ndim == matrix.ndim else solution[..., 0]


def fit_spline(basis: Tensor, values: Tensor, weights: Tensor) -> Tensor:
    """Weighted least-squares coefficients of `values` (n,) in a basis (n, m)."""
    weighted = basis * weights[:, None]
    return solve_symmetric(weighted.T @ basis, weighted.T @ values)


def smooth(values: Tensor, width: int) -> Tensor:
    """Running mean of (n,) over `width` neighbours on each side."""
    padded = torch.nn.functional.pad(values[None, None], (width, width), mode="replicate")
    kernel = torch.ones(1, 1, 2 * width + 1, dtype=values.dtype, device=values.device) / (2 * width + 1)
    return torch.nn.functional.conv1d(padded, kernel)[0, 0]
