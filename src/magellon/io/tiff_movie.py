"""Writing TIFF movies."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from magellon.io.files import replacing


def write_tiff_movie(path: Path | str, frames: Iterable[NDArray[Any]], pixel_size: float) -> None:
    """Write frames one by one as an LZW-compressed TIFF movie.

    Args:
        frames: images (y, x) of equal size, uint8, int8, uint16, int16 or float32, oriented as `open_movie` gives them: the
            rows are turned for the file.
        pixel_size: Å/px, kept in the resolution tags.

    Raises:
        ValueError: no frame at all.
        Transient: the disk is full.
    """
    count = 0
    with replacing(path) as temporary, tifffile.TiffWriter(temporary) as tiff:
        for frame in frames:
            tiff.write(
                np.ascontiguousarray(frame[::-1]),
                compression="lzw",
                photometric="minisblack",
                metadata=None,
                software=False,
                contiguous=False,
                resolution=(1e8 / pixel_size, 1e8 / pixel_size),
                resolutionunit="CENTIMETER",
            )
            count += 1
        if count == 0:
            raise ValueError(f"{path}: a movie needs at least one frame")
