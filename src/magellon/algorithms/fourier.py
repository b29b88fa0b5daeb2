"""Discrete Fourier transforms of images: frequency grids, resampling, shifting, radial averages.

Layout everywhere: `rfft` means the unshifted half plane of `torch.fft.rfft2`, shape (..., height, width // 2 + 1), zero
frequency at [0, 0]. Frequencies are in cycles per Å when a pixel size is given and cycles per pixel otherwise.
"""

import torch
from torch import Tensor


def rfft_frequencies(
    shape: tuple[int, int], pixel_size: float = 1.0, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Frequencies of the half plane of an image.

    Args:
        shape: (height, width) of the image.
        pixel_size: Å/px; 1 gives cycles per pixel.

    Returns:
        k_row of shape (height, 1) and k_column of shape (1, width // 2 + 1), which broadcast against each other.
    """
    height, width = shape
    k_row = torch.fft.fftfreq(height, d=pixel_size, device=device, dtype=dtype)[:, None]
    k_column = torch.fft.rfftfreq(width, d=pixel_size, device=device, dtype=dtype)[None, :]
    return k_row, k_column


def rfft_crop(transform: Tensor, shape: tuple[int, int], new_shape: tuple[int, int]) -> Tensor:
    """Keep the low frequencies of a half plane: Fourier binning that keeps sample 0 in place (x' = x / binning).

    The result is scaled so that its inverse transform has the mean of the original image. When a new dimension is even, its
    Nyquist row or column is the mean of the two that fold onto it, so that the result is the transform of a real image.

    Args:
        transform: (..., height, width // 2 + 1), complex.
        shape: (height, width) of the image `transform` belongs to.
        new_shape: not larger than `shape`.

    Returns:
        (..., new_height, new_width // 2 + 1).

    Raises:
        ValueError: `new_shape` is larger than `shape` or empty.
    """
    (height, width), (new_height, new_width) = shape, new_shape
    if not (0 < new_height <= height and 0 < new_width <= width):
        raise ValueError(f"cannot crop a transform of {height} x {width} to {new_height} x {new_width}")
    scale = (new_height * new_width) / (height * width)
    positive = (new_height + 1) // 2
    columns = new_width // 2 + 1
    top = transform[..., :positive, :columns]
    bottom = transform[..., height - (new_height // 2) :, :columns]
    if new_height < height and new_height % 2 == 0:
        folded = (transform[..., new_height // 2, :columns] + bottom[..., 0, :]) / 2
        bottom = torch.cat([folded[..., None, :], bottom[..., 1:, :]], dim=-2)
    cropped = torch.cat([top, bottom], dim=-2) * scale
    if new_width < width and new_width % 2 == 0:
        edge = cropped[..., :, -1]
        mirrored = torch.roll(edge.flip(-1), 1, dims=-1).conj()
        cropped[..., :, -1] = (edge + mirrored) / 2
    return cropped


def rfft_shift(transform: Tensor, shape: tuple[int, int], shifts_px: Tensor) -> Tensor:
    """Move images by sub-pixel shifts: content at (y, x) goes to (y, x) + shift.

    Args:
        transform: (..., height, width // 2 + 1).
        shape: (height, width) of the image.
        shifts_px: (..., 2), (y, x) in pixels.

    Returns:
        The transform of the moved images.
    """
    k_row, k_column = rfft_frequencies(shape, device=transform.device)
    shifts = shifts_px.to(k_row)
    phase_row = torch.exp(-2j * torch.pi * k_row * shifts[..., 0, None, None])
    phase_column = torch.exp(-2j * torch.pi * k_column * shifts[..., 1, None, None])
    return transform * phase_row * phase_column


def radial_mean(image: Tensor, radius: Tensor, bins: int) -> Tensor:
    """Mean of an image in rings of radius [b - 0.5, b + 0.5).

    Args:
        image: (..., height, width), of any layout.
        radius: (height, width), in units of one ring.
        bins: number of rings, starting with radius 0.

    Returns:
        (..., bins); an empty ring is 0.
    """
    index = radius.round().long().flatten()
    inside = (index < bins).nonzero().squeeze(-1)
    index = index[inside]
    values = image.flatten(-2)[..., inside]
    total = torch.zeros(*values.shape[:-1], bins, dtype=values.dtype, device=values.device)
    total.index_add_(-1, index, values)
    count = torch.bincount(index, minlength=bins).clamp(min=1)
    return total / count
