"""The files every denoiser writes: the denoised micrograph, and a picture of before and after."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.contracts import DenoisingOutput, Micrograph
from magellon.io.mrc import write_mrc
from magellon.io.picture import contrast, shrink, write_png

PICTURE_SIZE = 768
"""Longest side of each of the two in pixels; each has the contrast of its own `magellon.io.picture.PERCENTILES`."""
DENOISED = "Denoised: for eyes and pickers, not to be averaged"
"""Label in the header of a denoised micrograph, by which extraction knows it whatever its name."""
_GAP = 8


def write_denoising_output(
    folder: Path, micrograph: Micrograph, image: NDArray[np.float32], denoised: NDArray[np.float32]
) -> DenoisingOutput:
    """Write both files into `folder` and describe them; both images are (height, width)."""
    path, picture = folder / f"{micrograph.name}_denoised.mrc", folder / f"{micrograph.name}_denoised.png"
    write_mrc(path, denoised, micrograph.pixel_size, label=DENOISED)
    before, after = (contrast(shrink(each, PICTURE_SIZE)) for each in (image, denoised))
    gap = np.full((before.shape[0], _GAP), 255, dtype=np.uint8)
    write_png(picture, np.concatenate([before, gap, after], axis=1))
    shape = (image.shape[0], image.shape[1])
    return DenoisingOutput(denoised=micrograph.model_copy(update={"path": path, "shape": shape}), picture=picture)
