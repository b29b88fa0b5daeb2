"""Movies with known motion, small enough for unit tests."""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_shift


@dataclass(frozen=True)
class KnownMovie:
    frames: Tensor
    """(frames, height, width), uint8 counts."""
    track: Tensor
    """(frames, 2), true displacement (y, x) in px."""
    image: Tensor
    """(height, width): mean counts of an unmoved frame."""


def make_movie(
    shape: tuple[int, int] = (256, 256),
    frames: int = 12,
    *,
    counts: float = 2.0,
    contrast: float = 0.4,
    step: float = 0.8,
    seed: int = 0,
) -> KnownMovie:
    """Blobs and fine texture that drift, with shot noise; moved by Fourier shifts, so that edges wrap around."""
    generator = torch.Generator().manual_seed(seed)
    k = torch.hypot(torch.fft.fftfreq(shape[0])[:, None], torch.fft.rfftfreq(shape[1])[None])
    transform = torch.fft.rfft2(torch.randn(shape, generator=generator)) * torch.exp(-((k / 0.15) ** 2)) * (k > 0.01)
    transform /= torch.fft.irfft2(transform, s=shape).std()
    direction = torch.rand(2, generator=generator, dtype=torch.float64) * 2 - 1
    steps = step * (direction + 0.3 * torch.randn(frames, 2, generator=generator, dtype=torch.float64))
    steps[0] = 0
    track = steps.cumsum(0)
    still = counts * (1 + contrast * torch.fft.irfft2(transform, s=shape))
    moved = torch.fft.irfft2(rfft_shift(transform, shape, track), s=shape)
    expected = (counts * (1 + contrast * moved)).clamp(min=0)
    return KnownMovie(torch.poisson(expected, generator=generator).to(torch.uint8), track, still)
