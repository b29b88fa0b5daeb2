"""Single pixels far beyond all others: hot ones of the camera, X-rays, dead ones.

Averaged into the network's cells they would look like dirt on every target.
"""

import torch
from torch import Tensor

from magellon.algorithms.targets.planes import find_quantiles

LOW, HIGH = 0.01, 0.99
"""Quantiles of the values that are anything but spikes."""
BEYOND = 1.0
"""How far beyond them a value is a spike, in distances between them."""


def mend_spikes(image: Tensor) -> tuple[Tensor, int]:
    """Give spikes the median of the pixels around them, and say how many there were.

    Where most of what is around a pixel lies beyond the limits as well, it shows something, and stays.

    Args:
        image: (height, width) of finite values; it stays as it is.
    """
    height, width = image.shape
    low, high = find_quantiles(image, (LOW, HIGH))
    reach = BEYOND * (high - low)
    if reach == 0:
        return image, 0
    row, column = torch.nonzero((image > high + reach) | (image < low - reach), as_tuple=True)
    step = torch.arange(-1, 2)
    around = image[
        (row[:, None, None] + step[:, None]).clamp(0, height - 1), (column[:, None, None] + step).clamp(0, width - 1)
    ].flatten(1)
    middle = around.median(dim=1).values
    single = (middle <= high + reach) & (middle >= low - reach)
    if not bool(single.any()):
        return image, 0
    mended = image.clone()
    mended[row[single], column[single]] = middle[single]
    return mended, int(single.sum())
