"""Moving the ice along the local motion: a smooth warp that keeps every frequency's strength on average."""

import math

import numpy as np
import torch
from torch import Tensor

from magellon.simulation.motion_model import Motion, field_points, local_basis
from magellon.simulation.surroundings import Canvas

_KNOTS = 65
"""Along each side of the canvas, at which the displacement is evaluated; linear in between."""


class LocalWarp:
    """The local motion of a movie, prepared for its canvas."""

    def __init__(self, motion: Motion, canvas: Canvas) -> None:
        self.motion, self.canvas = motion, canvas
        y, x = (torch.linspace(-1, 1, side) for side in canvas.shape)
        self.lattice = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        self.modes = self._dense_modes()

    def move(self, spectrum: Tensor, frame: int) -> Tensor:
        """Transform to transform (height, width // 2 + 1) of a canvas; `spectrum` may be changed."""
        amounts = self.motion.temporal[:, frame]
        if not amounts.any():
            return spectrum
        spectrum *= self._sharpening(frame, 1)[:, None]
        spectrum *= self._sharpening(frame, 0)[: spectrum.shape[1]]
        field = torch.add(self.lattice, self.modes[0], alpha=float(amounts[0]))
        for mode, amount in zip(self.modes[1:], amounts[1:], strict=True):
            field.add_(mode, alpha=float(amount))
        image = torch.fft.irfft2(spectrum, s=self.canvas.shape)
        moved = torch.nn.functional.grid_sample(
            image[None, None], field[None], mode="bicubic", padding_mode="border", align_corners=True
        )
        transform: Tensor = torch.fft.rfft2(moved[0, 0])
        return transform

    def _dense_modes(self) -> Tensor:
        """What each temporal mode takes from the place at which a pixel looks, as content that moves by d is seen from -d.

        Returns:
            (modes, height, width, 2) in halves of the canvas, (x, y), the units of `grid_sample`.
        """
        canvas = self.canvas
        height, width = canvas.shape
        knots = field_points(canvas.shape, _KNOTS) / canvas.ratio - canvas.offset[::-1]
        basis = local_basis(knots, self.motion.shape, self.motion.bell)
        moved = basis @ np.swapaxes(self.motion.coefficients, 1, 2) / canvas.pixel_size
        looks = -moved * (2 / (width - 1), 2 / (height - 1))
        coarse = torch.from_numpy(looks).float().reshape(-1, _KNOTS, _KNOTS, 2).permute(0, 3, 1, 2)
        dense = torch.nn.functional.interpolate(coarse, size=canvas.shape, mode="bilinear", align_corners=True)
        return dense.permute(0, 2, 3, 1).contiguous()

    def _sharpening(self, frame: int, axis: int) -> Tensor:
        """What the interpolation takes from each frequency along an axis (0: x), inverted; on average over the field."""
        local = self.motion.local(field_points(self.motion.shape, 12), frame)[:, axis] / self.canvas.pixel_size
        part = torch.from_numpy(local - np.floor(local)).float()
        k = torch.fft.fftfreq(self.canvas.shape[1 - axis])
        return 1 / cubic_response(part, k).mean(dim=0)


def cubic_response(part: Tensor, k: Tensor) -> Tensor:
    """Amplitude (n, m) that `grid_sample`'s bicubic kernel keeps at shifts by `part` (n,) of a pixel and frequencies k (m,)."""
    a = -0.75
    total = torch.zeros(len(part), len(k))
    for tap in (-1, 0, 1, 2):
        x = (part - tap).abs()
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        weight = torch.where(x <= 1, near, far)
        total += weight[:, None] * torch.cos(2 * math.pi * k * (tap - part)[:, None])
    return total
