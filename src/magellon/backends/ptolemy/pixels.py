"""The picture that both steps begin with."""

from pathlib import Path

import torch
from torch import Tensor

from magellon.algorithms.targets.spikes import mend_spikes
from magellon.contracts import Context
from magellon.io.grid_image import read_grid_image


def read_pixels(path: Path, context: Context) -> Tensor:
    """(height, width) float32 without NaN and spikes; what was mended is said in the log.

    Raises:
        BadInput: as `read_grid_image`.
    """
    pixels, spikes = mend_spikes(torch.from_numpy(read_grid_image(path, context.log.warning)))
    if spikes:
        context.log.info("%d of %d pixels lie far beyond all others and were mended", spikes, pixels.numel())
    return pixels
