"""Periodograms of micrographs and smooth, square power spectra made from them."""

import math

import torch
from torch import Tensor

EDGE_TAPER = 0.03
"""Fraction of the image on each side over which it fades to its mean."""


def taper_edges(image: Tensor, fraction: float = EDGE_TAPER) -> Tensor:
    """Remove the mean and fade the edges with a raised cosine, so that they do not leak along the axes of the spectrum.

    Args:
        image: (..., height, width), float32.

    Returns:
        The same shape.
    """
    height, width = image.shape[-2:]
    mean = image.mean(dim=-1).double().mean(dim=-1)[..., None, None].to(image.dtype)
    rows = _edge_window(height, fraction, image)
    columns = _edge_window(width, fraction, image)
    tapered = image - mean
    # Only the edges change: a pass over the whole image costs as much as a third of its transform.
    for edge in (slice(0, _edge_width(height, fraction)), slice(height - _edge_width(height, fraction), height)):
        tapered[..., edge, :] *= rows[edge, None]
    for edge in (slice(0, _edge_width(width, fraction)), slice(width - _edge_width(width, fraction), width)):
        tapered[..., edge] *= columns[edge]
    return tapered


def periodogram(image: Tensor) -> Tensor:
    """|FFT|² of an image without its mean and with tapered edges.

    Scaled so that white noise of variance v gives v on average.

    Args:
        image: (..., height, width), float32.

    Returns:
        (..., height, width // 2 + 1): the unshifted half plane.
    """
    height, width = image.shape[-2:]
    transform = torch.fft.rfft2(taper_edges(image))
    parts = torch.view_as_real(transform)
    power = torch.addcmul(parts[..., 0].square(), parts[..., 1], parts[..., 1])
    energy = _edge_window(height, EDGE_TAPER, image).square().sum() * _edge_window(width, EDGE_TAPER, image).square().sum()
    return power.div_(energy)


def centred_power(power: Tensor, shape: tuple[int, int], size: int = 1024) -> Tensor:
    """A square, smooth power spectrum of `size` x `size`, with the same scale of frequencies along both axes.

    The autocorrelation is cut to lags of +-size / 2 pixels and faded to zero (Blackman & Tukey 1958), which is the average of
    the spectrum over neighbouring frequencies, for any height and width. Lags below half of that range, which hold the fine
    rings of high defocus, stay nearly whole.

    Args:
        power: (height, width // 2 + 1), the half plane of `periodogram`, or a sum of several.
        shape: (height, width) of the image it belongs to.
        size: even; reduced to the image's smaller side (made even) when that is smaller.

    Returns:
        (size, size), float32, not negative, zero frequency at [size // 2, size // 2], Nyquist at the edge.
    """
    size = min(size, shape[0] // 2 * 2, shape[1] // 2 * 2)
    correlation = torch.fft.irfft2(power.to(torch.complex64), s=shape)
    half = size // 2
    correlation = torch.cat([correlation[:half], correlation[-half:]], dim=0)
    correlation = torch.cat([correlation[:, :half], correlation[:, -half:]], dim=1)
    lags = torch.fft.fftfreq(size, d=1 / size, device=power.device)
    fade = _lag_window(lags, half)
    correlation = correlation * fade[:, None] * fade
    spectrum: Tensor = torch.fft.fftshift(torch.fft.fft2(correlation).real)
    return spectrum.clamp_(min=0).contiguous()


def _lag_window(lags: Tensor, half: int) -> Tensor:
    """1 up to a quarter of the range, then a raised cosine to 0."""
    start = half / 4
    fade = ((lags.abs() - start) / (half - start)).clamp(0, 1)
    return 0.5 + 0.5 * torch.cos(math.pi * fade)


def _edge_width(length: int, fraction: float) -> int:
    return min(length // 2, math.ceil(fraction * length))


def _edge_window(length: int, fraction: float, like: Tensor) -> Tensor:
    distance = torch.arange(length, device=like.device, dtype=like.dtype) + 0.5
    distance = torch.minimum(distance, length - distance)
    return 0.5 - 0.5 * torch.cos(math.pi * (distance / max(1.0, fraction * length)).clamp(max=1))
