"""Movies with known motion, small enough for unit tests."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample


@dataclass(frozen=True)
class KnownMovie:
    frames: Tensor
    """(frames, height, width), uint8 counts."""
    track: Tensor
    """(frames, 2), true displacement (y, x) of the field's centre in px."""
    stretch: Tensor
    """(frames,): local motion (y, x) in px is stretch x (y, x) in coordinates -1..1 over the field."""
    image: Tensor
    """(height, width): mean counts of the first frame."""

    def displacement(self, points_px: Tensor) -> Tensor:
        """(frames, points, 2) at points (points, 2)."""
        size = torch.tensor(self.image.shape, dtype=torch.float64)
        place = 2 * points_px.double() / size - 1
        return self.track[:, None] + self.stretch[:, None, None] * place


def make_movie(
    shape: tuple[int, int] = (256, 256),
    frames: int = 12,
    *,
    counts: float = 2.0,
    contrast: float = 0.4,
    step: float = 0.8,
    stretch: float = 0.0,
    seed: int = 0,
) -> KnownMovie:
    """Blobs and fine texture that drift and stretch, with shot noise, cut from a larger image.

    Args:
        step: drift per frame, px.
        stretch: local motion at the border of the last frame, px.
    """
    generator = torch.Generator().manual_seed(seed)
    margin = 32
    size = (shape[0] + 2 * margin, shape[1] + 2 * margin)
    k = torch.hypot(torch.fft.fftfreq(size[0])[:, None], torch.fft.rfftfreq(size[1])[None])
    transform = torch.fft.rfft2(torch.randn(size, generator=generator)) * torch.exp(-((k / 0.15) ** 2)) * (k > 0.01)
    texture = torch.fft.irfft2(transform, s=size)
    texture /= texture.std()
    direction = torch.rand(2, generator=generator, dtype=torch.float64) * 2 - 1
    steps = step * (direction + 0.2 * torch.randn(frames, 2, generator=generator, dtype=torch.float64))
    steps[0] = 0
    track = steps.cumsum(0)
    stretches = torch.linspace(0, stretch, frames, dtype=torch.float64)
    y, x = torch.meshgrid(torch.arange(shape[0]).double(), torch.arange(shape[1]).double(), indexing="ij")
    images = []
    for number in range(frames):
        # The content at p in the first frame is at p + track + stretch * place(p): look back along that map.
        images.append(_look_back(texture, y, x, track[number], float(stretches[number]), margin))
    expected = (counts * (1 + contrast * torch.stack(images))).clamp(min=0)
    return KnownMovie(torch.poisson(expected, generator=generator).to(torch.uint8), track, stretches, expected[0])


def _look_back(texture: Tensor, y: Tensor, x: Tensor, shift: Tensor, stretch: float, margin: int) -> Tensor:
    height, width = y.shape
    source = []
    for position, size, offset in ((y, height, shift[0]), (x, width, shift[1])):
        source.append((position - offset + stretch) / (1 + 2 * stretch / size))
    rows, columns = texture.shape
    grid = torch.stack([(source[1] + margin + 0.5) * 2 / columns - 1, (source[0] + margin + 0.5) * 2 / rows - 1], dim=-1)
    sampled: Tensor = grid_sample(texture[None, None], grid[None].float(), mode="bicubic", align_corners=False)
    return sampled[0, 0]
