"""Power spectra made visible: Thon rings of equal contrast from the centre to the edge."""

import torch
from torch import Tensor

from magellon.algorithms.fourier import radial_mean

SHOWN = 2.5
"""Standard deviations of the noise that become 1."""
RING_WIDTH = 1 / 24
"""Of the half size: the background is smoothed over this many rings to each side at the edge, fewer towards the centre."""


def crop_spectrum(power: Tensor, fraction: float) -> Tensor:
    """The middle of a centred spectrum, up to a fraction of Nyquist: (even size, even size)."""
    size = power.shape[-1]
    half = max(16, min(size // 2, round(size / 2 * fraction)))
    middle = size // 2
    return power[..., middle - half : middle + half, middle - half : middle + half]


def flatten_spectrum(power: Tensor, blur: float = 1.2) -> Tensor:
    """Remove the background of a centred power spectrum and give its rings a contrast that the eye can follow.

    The logarithm loses its smooth course along the radius, is blurred a little, and is divided by its own variation along the
    radius where the rings are stronger than the noise, so that the first rings do not outshine the others.

    Args:
        power: (size, size), zero frequency at [size // 2, size // 2].
        blur: standard deviation in pixels.

    Returns:
        (size, size), about 0 on average; -1 to 1 is worth showing (`SHOWN`).
    """
    size = power.shape[-1]
    logarithm = power.double().clamp(min=float(power.max()) * 1e-12).log()
    radius = centred_radius(size, power.device)
    bins = int(radius.max()) + 2
    rings = radial_mean(logarithm, radius, bins)
    rings[0] = rings[1]
    background = smooth_rings(rings, size)
    return equalise_rings(blur_image(logarithm - interpolate_rings(background, radius), blur))


def equalise_rings(flat: Tensor) -> Tensor:
    """Divide a centred picture (size, size), flat already, by its variation along the radius where rings exceed noise."""
    size = flat.shape[-1]
    radius = centred_radius(size, flat.device)
    bins = int(radius.max()) + 2
    spread = smooth_rings(radial_mean(flat.double() ** 2, radius, bins), size).sqrt()
    floor = spread[size // 8 : min(bins, size // 2)].median()
    return (flat / interpolate_rings(spread.clamp(min=float(floor)) * SHOWN, radius)).float()


def blur_image(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of an image (height, width)."""
    reach = max(1, round(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, device=image.device, dtype=image.dtype)
    kernel = torch.exp(-(offsets**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    padded = torch.nn.functional.pad(image[None, None], (reach,) * 4, mode="replicate")
    rows = torch.nn.functional.conv2d(padded, kernel[None, None, :, None])
    return torch.nn.functional.conv2d(rows, kernel[None, None, None, :])[0, 0]


def centred_radius(size: int, device: torch.device | str = "cpu") -> Tensor:
    """Distance of each pixel of a centred spectrum from zero frequency, in pixels; (size, size)."""
    axis = torch.arange(size, device=device, dtype=torch.float64) - size // 2
    return (axis[:, None] ** 2 + axis**2).sqrt()


def smooth_rings(rings: Tensor, size: int) -> Tensor:
    """Running mean over a window that grows with the radius; (bins,)."""
    index = torch.arange(len(rings), device=rings.device)
    half = (2 + index * 0.35).clamp(max=size * RING_WIDTH).long()
    low, high = (index - half).clamp(min=0), (index + half + 1).clamp(max=len(rings))
    running = torch.nn.functional.pad(rings.cumsum(0), (1, 0))
    return (running[high] - running[low]) / (high - low)


def interpolate_rings(rings: Tensor, radius: Tensor) -> Tensor:
    """Values at fractional ring numbers."""
    low = radius.floor().long().clamp(max=len(rings) - 2)
    part = radius - low
    return rings[low] * (1 - part) + rings[low + 1] * part
