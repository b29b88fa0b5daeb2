"""The micrograph as pickers see it: reduced to the scale of the particle, checked, flattened.

Everything a picker asks of a micrograph happens below the frequency where particles of one kind look alike, so that all of it
is done on an image in which a particle is a few ten pixels wide. Lengths of the reduced image are called cells.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.errors import BadInput

MINIMUM_SIDE_PX = 32
SPIKE_SIGMAS = 8.0
"""Pixels brighter than this many standard deviations are X-rays or hot pixels, not specimen."""


@dataclass(frozen=True)
class Field:
    """A reduced micrograph.

    Attributes:
        image: (height, width) float32, in the micrograph's units.
        pixel_size: Å per cell.
        binning: pixels of the micrograph per cell along each axis; x = (x' + 0.5) * binning - 0.5.
    """

    image: Tensor
    pixel_size: float
    binning: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.image.shape[-2], self.image.shape[-1]

    def to_micrograph(self, cells: Tensor) -> Tensor:
        """(n, 2) positions (y, x) in cells as (n, 2) coordinates (x, y) in pixels of the micrograph."""
        return ((cells.to(torch.float64) + 0.5) * self.binning - 0.5).flip(-1)


def check_image(image: Tensor, pixel_size: float) -> None:
    """Refuse what cannot be picked.

    Raises:
        BadInput: not a 2D image, too small, NaN or infinity, constant, or an impossible pixel size.
    """
    if image.ndim != 2 or min(image.shape) < MINIMUM_SIDE_PX:
        raise BadInput(f"image of shape {tuple(image.shape)}: picking needs two dimensions of at least {MINIMUM_SIDE_PX} px")
    if not (math.isfinite(pixel_size) and pixel_size > 0):
        raise BadInput(f"pixel size {pixel_size} Å/px: must be above 0")
    low, high = (float(value) for value in torch.aminmax(image))
    if not (math.isfinite(low) and math.isfinite(high)):
        bad = int((~torch.isfinite(image)).sum())
        raise BadInput(f"image holds {bad} values that are NaN or infinite; none are allowed")
    if low == high:
        raise BadInput(f"image is constant (every value is {low:g}): nothing to pick")


def check_diameter(diameter: float, shape: tuple[int, int], pixel_size: float) -> None:
    """Refuse a particle that is no particle in this image.

    Raises:
        BadInput: below 4 pixels, or above half the image's smaller side.
    """
    low, high = 4 * pixel_size, min(shape) * pixel_size / 2
    if not (math.isfinite(diameter) and low <= diameter <= high):
        raise BadInput(
            f"diameter {diameter:g} Å: must lie between 4 pixels ({low:.4g} Å) and half the image's smaller side ({high:.4g} Å)"
        )


def reduce_micrograph(image: Tensor, pixel_size: float, cell: float) -> Field:
    """Average a micrograph over square cells of whole pixels, about `cell` Å wide.

    Averaging instead of Fourier cropping: white noise stays white, nothing rings at the borders, which are not periodic, and
    it takes a fraction of a transform's time. A rest at the far borders that does not fill a cell is left out.

    Args:
        image: (height, width).
        pixel_size: Å/px.
    """
    height, width = image.shape
    binning = max(1, min(round(cell / pixel_size), min(height, width) // 16))
    clipped = _clip_spikes(image.to(torch.float32))
    reduced = torch.nn.functional.avg_pool2d(clipped[None, None], binning)[0, 0]
    return Field(reduced, pixel_size * binning, binning)


def coarsen(field: Field, factor: int) -> Field:
    """Average cells once more."""
    if factor <= 1 or min(field.shape) // factor < 16:
        return field
    image = torch.nn.functional.avg_pool2d(field.image[None, None], factor)[0, 0]
    return Field(image, field.pixel_size * factor, field.binning * factor)


def measure_whiteness(image: Tensor) -> float:
    """How white the noise is: squared differences of neighbouring pixels over those of pixels three apart.

    Near 1 for noise that is white, 0.8 of cameras that blur; below 0.3 after denoising or a low-pass filter.

    Args:
        image: (height, width).
    """
    ratios = []
    for each in (image[::3], image.mT[::3]):
        near, far = (robust_scale((each[:, gap:] - each[:, :-gap]).flatten())[1] for gap in (1, 3))
        ratios.append((near / far) ** 2 if far > 0 else 1.0)
    return sum(ratios) / 2


def flatten_background(image: Tensor, usable: Tensor, sigma_px: float) -> Tensor:
    """Subtract what is smooth: a fourth-order polynomial, then the local mean. Where not usable the result is 0.

    The polynomial takes the slope across the borders, where a local mean is lopsided.

    Args:
        image: (height, width).
        usable: (height, width) bool.
        sigma_px: of the Gaussian of the local mean, in cells.
    """
    weights = usable.to(image.dtype)
    image = (image - fit_polynomial(image, usable)) * weights
    mean = smooth(image, sigma_px) / smooth(weights, sigma_px).clamp(min=1e-3)
    return (image - mean) * weights


def fit_polynomial(image: Tensor, usable: Tensor, order: int = 4) -> Tensor:
    """The polynomial surface of this total order nearest to the usable part of an image: (height, width) float32.

    Fitted to at most 64 x 64 block means; blocks far from the first fit are left out of the second.
    """
    height, width = image.shape
    block = max(1, -(-max(height, width) // 64))
    average = partial(torch.nn.functional.avg_pool2d, kernel_size=block, ceil_mode=True, count_include_pad=False)
    share = average(usable.to(torch.float64)[None, None])[0, 0]
    mean = average((image * usable).to(torch.float64)[None, None])[0, 0] / share.clamp(min=1e-9)
    y = (torch.arange(mean.shape[0], dtype=torch.float64, device=image.device) + 0.5) * block - 0.5
    x = (torch.arange(mean.shape[1], dtype=torch.float64, device=image.device) + 0.5) * block - 0.5
    coarse = _monomials(y, x, (height, width), order)
    weights = (share > 0.5).to(torch.float64)
    fitted = torch.zeros_like(mean)
    coefficients = torch.zeros(coarse.shape[0], dtype=torch.float64, device=image.device)
    for _ in range(2):
        if int((weights > 0).sum()) <= 2 * coarse.shape[0]:
            break
        design = coarse.flatten(1) * weights.flatten()
        normal = design @ coarse.flatten(1).T
        ridge = 1e-9 * torch.eye(normal.shape[0], dtype=torch.float64, device=image.device) * normal.diagonal().max()
        coefficients = torch.linalg.solve(normal + ridge, design @ mean.flatten())
        fitted = torch.einsum("n,nyx->yx", coefficients, coarse)
        residual = mean - fitted
        _, spread = robust_scale(residual[weights > 0])
        weights = weights * (residual.abs() <= 4 * spread + 1e-12)
    rows = torch.arange(height, dtype=torch.float64, device=image.device)
    columns = torch.arange(width, dtype=torch.float64, device=image.device)
    surface: Tensor = torch.einsum("n,nyx->yx", coefficients, _monomials(rows, columns, (height, width), order))
    return surface.to(image.dtype)


def _monomials(y: Tensor, x: Tensor, shape: tuple[int, int], order: int) -> Tensor:
    """x^i y^j for i + j <= order, coordinates scaled to -1..1: (n, len(y), len(x))."""
    v, u = 2 * y / shape[0] - 1, 2 * x / shape[1] - 1
    return torch.stack([v[:, None] ** j * u[None, :] ** i for j in range(order + 1) for i in range(order + 1 - j)])


def smooth(image: Tensor, sigma_px: float) -> Tensor:
    """Gaussian mean with the borders mirrored, so that nothing leaks around the edge: (..., height, width)."""
    height, width = image.shape[-2:]
    pad_y, pad_x = (min(math.ceil(3 * sigma_px) + 1, side - 1) for side in (height, width))
    padded = torch.nn.functional.pad(image.reshape(-1, 1, height, width), (pad_x, pad_x, pad_y, pad_y), mode="reflect")
    shape = (padded.shape[-2], padded.shape[-1])
    k_row, k_column = rfft_frequencies(shape, device=image.device)
    gauss = torch.exp(-2 * (math.pi * sigma_px) ** 2 * (k_row**2 + k_column**2))
    filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(padded) * gauss, s=shape)
    return filtered[..., pad_y : pad_y + height, pad_x : pad_x + width].reshape(image.shape)


def resize_mask(usable: Tensor | None, field: Field) -> Tensor:
    """A mask of any size stretched over the field; all True when there is none."""
    if usable is None:
        return torch.ones(field.shape, dtype=torch.bool, device=field.image.device)
    stretched = torch.nn.functional.interpolate(usable[None, None].to(torch.float32), size=field.shape, mode="nearest")
    return stretched[0, 0] > 0.5


def highest_in_window(image: Tensor, window: int) -> Tensor:
    """Highest value of the square of `window` cells (odd) around each cell: (height, width). One axis after the other."""
    half = window // 2
    rows = torch.nn.functional.max_pool2d(image[None, None], (window, 1), stride=1, padding=(half, 0))
    highest: Tensor = torch.nn.functional.max_pool2d(rows, (1, window), stride=1, padding=(0, half))
    return highest[0, 0]


def robust_scale(values: Tensor) -> tuple[float, float]:
    """Median and 1.4826 x median absolute deviation: centre and spread that outliers do not move. (0, 0) when empty."""
    if values.numel() == 0:
        return 0.0, 0.0
    centre = values.median()
    return float(centre), float((values - centre).abs().median() * 1.4826)


def _clip_spikes(image: Tensor) -> Tensor:
    """Limit single very bright pixels; the spread is taken from a regular sample of the pixels."""
    sample = image[::7, ::5].flatten()
    centre, spread = robust_scale(sample)
    if spread == 0:
        return image
    return image.clamp(max=centre + SPIKE_SIGMAS * spread)
