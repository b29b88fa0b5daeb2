"""Images in DigitalMicrograph 3 and 4 files, which Gatan detectors' gain references come in."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magellon.io.dm4_header import find_dm4_image
from magellon.io.files import reading


def read_dm4(path: Path | str) -> NDArray[Any]:
    """Read the image of a .dm4 or .dm3 file, rows as in the file (the top row first).

    Returns:
        (height, width), in the file's type.

    Raises:
        BadInput: not a DigitalMicrograph file, damaged, or without an image of real numbers.
    """
    with reading(path):
        raw = Path(path).read_bytes()
    image = find_dm4_image(raw, path)
    dtype = np.dtype(image.code)
    pixels = np.frombuffer(raw, dtype=dtype, count=image.width * image.height, offset=image.offset)
    return pixels.reshape(image.height, image.width).astype(dtype.newbyteorder("="))
