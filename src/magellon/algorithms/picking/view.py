"""The micrograph as the picking network sees it: every particle 16 cells wide, the ice level, the noise of one strength.

Two channels: the image without what is smooth, and its level, both in units of the ice's own spread and compressed, so that
a crystal a hundred times darker than a particle neither sets the scale nor leaves the range.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.picking.field import fit_polynomial, reduce_micrograph, robust_scale, smooth
from magellon.algorithms.picking.fringes import even_beam

CELLS_PER_DIAMETER = 16
LEVEL_SIGMA = 3.0
"""Cells: blur at which the level is seen."""
BACKGROUND_SIGMA = 20.0
"""Cells: blur of the local mean."""
OUTLIER_SIGMAS = 5.0
"""Cells whose level is this far from the ice's have no part in mean and scale."""
CLEARLY_APART = 8.0
"""Spreads between the bright and the dark part of an image that are ice and something else."""
LEAST_ICE = 0.35
"""Part of the image that the bright part must be, to be the ice."""
FINEST = 1.5
"""Whole pixels are averaged to cells so many times finer than the network's; the rest is interpolated."""


@dataclass(frozen=True)
class View:
    """What the network is given.

    Attributes:
        channels: (2, height, width) float32.
        scale: pixels of the micrograph per cell along (y, x); x = (x' + 0.5) * scale - 0.5.
    """

    channels: Tensor
    scale: tuple[float, float]

    def to_micrograph(self, cells: Tensor) -> Tensor:
        """(n, 2) positions (y, x) in cells as (n, 2) coordinates (x, y) in pixels of the micrograph."""
        scale = torch.tensor(self.scale, dtype=torch.float64, device=cells.device)
        return ((cells.to(torch.float64) + 0.5) * scale - 0.5).flip(-1)

    def from_micrograph(self, points: Tensor) -> Tensor:
        """The inverse."""
        scale = torch.tensor(self.scale, dtype=torch.float64, device=points.device)
        return (points.to(torch.float64).flip(-1) + 0.5) / scale - 0.5


def make_view(image: Tensor, pixel_size: float, diameter: float) -> View:
    """Reduce a micrograph to the scale of its particles, and normalise it.

    Args:
        image: (height, width), checked.
        pixel_size: Å/px.
        diameter: of the particle, Å.
    """
    cell = diameter / CELLS_PER_DIAMETER
    fine = reduce_micrograph(image, pixel_size, max(pixel_size, int(cell / FINEST / pixel_size) * pixel_size))
    height, width = (max(16, round(side * fine.pixel_size / cell)) for side in fine.shape)
    resized = torch.nn.functional.interpolate(
        fine.image[None, None], size=(height, width), mode="bilinear", align_corners=False, antialias=True
    )[0, 0]
    scale = (fine.binning * fine.shape[0] / height, fine.binning * fine.shape[1] / width)
    return View(normalise_view(even_beam(resized)), scale)


def normalise_view(image: Tensor) -> Tensor:
    """(height, width) at the network's scale to its channels (2, height, width).

    Level and scale are those of the ice: what lies far from most of the image has no part in them.
    """
    image = image - image.median()
    flat = image - fit_polynomial(image, _find_ice(smooth(image, LEVEL_SIGMA)), order=2)
    level = smooth(flat, LEVEL_SIGMA)
    centre, _ = robust_scale(level)
    ice = _find_ice(level).to(flat.dtype)
    background = smooth((flat - centre) * ice, BACKGROUND_SIGMA) / (smooth(ice, BACKGROUND_SIGMA) + 0.05)
    detail = flat - centre - background
    _, scale = robust_scale(detail[ice > 0])
    scale = max(scale, 1e-12)
    return torch.stack([_compress(detail / scale), _compress((level - centre) / scale)])


def _find_ice(level: Tensor) -> Tensor:
    """Where the level is about that of most of the image, or of its bright part where a large dark part is clearly apart."""
    bright = level > _best_threshold(level)
    (upper, spread), (lower, _) = robust_scale(level[bright]), robust_scale(level[~bright])
    apart = upper - lower > CLEARLY_APART * spread and float(bright.to(torch.float32).mean()) > LEAST_ICE
    centre, spread = (upper, spread) if apart else robust_scale(level)
    return (level - centre).abs() <= OUTLIER_SIGMAS * spread


def _best_threshold(level: Tensor) -> float:
    """The level that best divides an image in two (Otsu 1979, doi:10.1109/TSMC.1979.4310076), from a sorted sample."""
    values = level[::2, ::2].flatten().to(torch.float64).sort().values
    count = torch.arange(1, len(values), dtype=torch.float64, device=level.device)
    sums = values.cumsum(0)
    below, above = sums[:-1] / count, (sums[-1] - sums[:-1]) / (len(values) - count)
    return float(values[int((count * (len(values) - count) * (above - below) ** 2).argmax())])


def _compress(values: Tensor) -> Tensor:
    """Linear near 0, logarithmic far from it."""
    return 2 * torch.asinh(values / 2)
