"""Thick things that pickers take for particles: edges of carbon and crystals of ice, in units of a protein's projection."""

import math

import torch
from torch import Tensor


def draw_carbon(count: int, box: int, pixel_size: float, generator: torch.Generator) -> Tensor:
    """Films (count, box, box) that cover one side of the box, with the grain of amorphous carbon (10 to 30 Å)."""
    angle = 2 * math.pi * torch.rand(count, 1, 1, generator=generator)
    edge = (torch.rand(count, 1, 1, generator=generator) - 0.6) * box / 2
    position = torch.arange(box, dtype=torch.float32) - box // 2
    height = torch.cos(angle) * position + torch.sin(angle) * position[:, None] - edge
    film = torch.sigmoid(height * pixel_size / 6)
    return film * (3 + 0.9 * _smooth(count, box, 8 / pixel_size, generator))


def draw_crystals(count: int, box: int, pixel_size: float, generator: torch.Generator) -> Tensor:
    """Facetted lumps (count, box, box), 60 to 240 Å across, somewhere near the centre, several times as dense as a protein."""
    radius = (30 + 90 * torch.rand(count, 1, 1, generator=generator)) / pixel_size
    centre = torch.randn(count, 2, 1, 1, generator=generator) * 20 / pixel_size
    position = torch.arange(box, dtype=torch.float32) - box // 2
    y, x = position[:, None] - centre[:, 0], position - centre[:, 1]
    turn = 2 * math.pi * torch.rand(count, 1, 1, generator=generator)
    faces = torch.randint(4, 8, (count, 1, 1), generator=generator)
    # Distance to the nearest side of a regular polygon, each side displaced a little by a slow ripple.
    sector = 2 * math.pi / faces
    direction = torch.remainder(torch.atan2(y, x) + turn, sector) - sector / 2
    inside = radius * (1 + 0.15 * _smooth(count, box, 40 / pixel_size, generator)) - torch.hypot(x, y) * torch.cos(direction)
    density = 2.5 + 4 * torch.rand(count, 1, 1, generator=generator)
    return density * torch.sigmoid(inside * pixel_size / 5) * (1 + 0.2 * _smooth(count, box, 12 / pixel_size, generator))


def _smooth(count: int, box: int, length_px: float, generator: torch.Generator) -> Tensor:
    """Noise (count, box, box) of unit variance, correlated over a length."""
    k_row, k_column = torch.fft.fftfreq(box)[:, None], torch.fft.rfftfreq(box)
    transform = torch.fft.rfft2(torch.randn(count, box, box, generator=generator))
    kernel = torch.exp(-(k_row**2 + k_column**2) * (math.pi * length_px) ** 2)
    kernel[0, 0] = 0
    field: Tensor = torch.fft.irfft2(transform * kernel, s=(box, box))
    return field / field.double().pow(2).mean(dim=(-2, -1), keepdim=True).sqrt().clamp(min=1e-12).float()
