"""Downscaling of boxes by Fourier cropping, with RELION's choice at the Nyquist frequency."""

import torch
from torch import Tensor

from magellon.algorithms.parallel import single_threaded_kernels
from magellon.units import Pixel


def rescale_boxes(boxes: Tensor, size: Pixel) -> Tensor:
    """Fourier-crop boxes; sample 0 stays in place, so the centre [n // 2, n // 2] goes to [size // 2, size // 2] for even n.

    Means are kept. The Nyquist row of the result is the input's row at +size / 2 alone, where `fourier.rfft_crop` takes the
    mean of the two rows that fold onto it: RELION's choice, without which boxes of noise differ by several per cent.

    Args:
        boxes: (..., n, n).
        size: even, at most n.

    Returns:
        (..., size, size).
    """
    n = boxes.shape[-1]
    if size == n:
        return boxes
    half = size // 2
    # On some processors the library's batched transforms depend on the number of threads in their last bits.
    with single_threaded_kernels():
        # Rows first would transform columns that the crop discards: real transforms along rows, crop, then along columns.
        transform = torch.fft.fft(torch.fft.rfft(boxes, dim=-1)[..., : half + 1], dim=-2)
        rows = torch.cat([transform[..., : half + 1, :], transform[..., n - half + 1 :, :]], dim=-2)
        columns = torch.fft.ifft(rows, dim=-2)
        rescaled: Tensor = torch.fft.irfft(columns, n=size, dim=-1) * (size / n) ** 2
    return rescaled
