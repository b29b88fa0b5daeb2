"""Fourier shell (ring) correlation: how far two maps, or two images, agree at each resolution.

Harauz & van Heel 1986; thresholds 0.143 for independent halves (Rosenthal & Henderson 2003, doi:10.1016/j.jmb.2003.07.013)
and 0.5 against the truth.
"""

from itertools import pairwise

import torch
from torch import Tensor

from magellon.units import Angstrom, AngstromPerPixel


def fourier_shell_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Correlation of two maps, or two images, in shells one Fourier pixel wide.

    Args:
        first: (n, n, n) or (n, n), real; `second` has the same shape.

    Returns:
        (n // 2 + 1,) float64: shell s is the frequency s / (n * pixel size). A shell without signal is 0.

    Raises:
        ValueError: the shapes differ or are no squares or cubes.
    """
    n = first.shape[-1]
    if first.shape != second.shape or first.ndim not in (2, 3) or set(first.shape) != {n}:
        raise ValueError(
            f"cannot correlate {tuple(first.shape)} with {tuple(second.shape)}: two equal squares or cubes are needed"
        )
    dims = tuple(range(-first.ndim, 0))
    a, b = (torch.fft.rfftn(item.double(), dim=dims) for item in (first, second))
    index = _shell_index(n, first.ndim, first.device)
    # Columns other than 0 and Nyquist stand for two coefficients each.
    weight = torch.full((n // 2 + 1,), 2.0, dtype=torch.float64, device=first.device)
    weight[0] = 1.0
    if n % 2 == 0:
        weight[-1] = 1.0
    cross, power_a, power_b = (
        torch.zeros(n // 2 + 1, dtype=torch.float64, device=first.device).index_add_(0, *_inside(index, weight * value, n))
        for value in ((a * b.conj()).real, a.abs() ** 2, b.abs() ** 2)
    )
    norm = torch.sqrt(power_a * power_b)
    return torch.where(norm > 0, cross / norm.clamp(min=torch.finfo(torch.float64).tiny), torch.zeros_like(cross))


def resolution_at(curve: Tensor, threshold: float, pixel_size: AngstromPerPixel) -> Angstrom:
    """Resolution at which a curve first falls below a threshold, interpolated between shells.

    Args:
        curve: (n // 2 + 1,) of an even n, from `fourier_shell_correlation`.

    Returns:
        Å; Nyquist when the curve stays above, infinity when it starts below.
    """
    values: list[float] = curve.tolist()
    box = 2 * (len(values) - 1)
    for shell, (here, there) in enumerate(pairwise(values[1:]), start=1):
        if here < threshold:
            return float("inf")
        if there < threshold:
            return box * pixel_size / (shell + (here - threshold) / (here - there))
    return 2 * pixel_size


def _shell_index(n: int, ndim: int, device: torch.device) -> Tensor:
    full = torch.fft.fftfreq(n, d=1 / n, device=device, dtype=torch.float64)
    half = torch.fft.rfftfreq(n, d=1 / n, device=device, dtype=torch.float64)
    squared = full[:, None] ** 2 + half**2
    if ndim == 3:
        squared = full[:, None, None] ** 2 + squared
    index: Tensor = squared.sqrt().round().long()
    return index


def _inside(index: Tensor, value: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Shell numbers and values without the corners beyond Nyquist."""
    keep = index <= n // 2
    return index[keep], value[keep]
