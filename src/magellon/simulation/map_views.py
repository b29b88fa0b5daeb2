"""Many views of one map, fast: central slices of its transform (Bracewell 1956).

For stacks of tens of thousands of small boxes, where `project_atoms` would spend a minute on atoms no pixel resolves.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PADDING = 2
"""The map's transform is sampled so much finer than the boxes', for trilinear interpolation."""
_AT_ONCE = 256


class MapViews:
    """Transforms of a map's projections."""

    def __init__(self, volume: Tensor, pixel_size: float, box: int | None = None) -> None:
        """
        Args:
            volume: (n, n, n) as (z, y, x), n even, its centre at [n // 2] * 3; in V.
            box: of the images, even; None: n.
        """
        side = volume.shape[0]
        self.box = box or side
        self._size = PADDING * side
        offset = (torch.arange(side) - side // 2) / self._size
        # Interpolating the transform linearly multiplies the map by sinc² along each axis.
        taper = 1 / torch.sinc(offset) ** 2
        padded = torch.zeros(self._size, self._size, self._size)
        start = self._size // 2 - side // 2
        inside = slice(start, start + side)
        padded[inside, inside, inside] = volume * taper[:, None, None] * taper[:, None] * taper * pixel_size
        transform = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(padded)))
        self._channels = torch.view_as_real(transform).movedim(-1, 0)[None].contiguous()
        k_row = torch.fft.fftfreq(self.box)[:, None]
        k_column = torch.fft.rfftfreq(self.box)[None, :]
        shape = (self.box, self.box // 2 + 1)
        self._k = torch.stack([k_column.expand(shape), k_row.expand(shape)], dim=-1)
        self._inside = (k_row**2 + k_column**2) < 0.25

    def project(self, frames: NDArray[np.float64]) -> Tensor:
        """Transforms (m, n, n // 2 + 1) of projections in V Å, n the box, the particle centred on pixel [0, 0].

        Args:
            frames: (m, 2, 3): from object to image x and y.
        """
        turned = torch.from_numpy(np.ascontiguousarray(frames)).float()
        pieces = [self._slice(turned[start : start + _AT_ONCE]) for start in range(0, len(turned), _AT_ONCE)]
        return torch.cat(pieces) if pieces else torch.zeros(0, self.box, self.box // 2 + 1, dtype=torch.complex64)

    def _slice(self, frames: Tensor) -> Tensor:
        # Frequencies in cycles per pixel run from -0.5 to 0.5 over the samples 0 to size of a grid that ends one before.
        places = torch.einsum("hwi,mij->mhwj", self._k, frames) * (2 * self._size / (self._size - 1)) + 1 / (self._size - 1)
        sampled = torch.nn.functional.grid_sample(
            self._channels, places.reshape(1, len(frames), self.box, -1, 3), mode="bilinear", align_corners=True
        )
        sliced: Tensor = torch.complex(sampled[0, 0], sampled[0, 1]) * self._inside
        return sliced
