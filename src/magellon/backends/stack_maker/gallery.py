"""The first boxes of a stack side by side."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.io.picture import contrast, write_png

COLUMNS = 12
MOST = 60
_SIDE = 64


def write_gallery(path: Path, boxes: list[NDArray[np.float32]]) -> None:
    """Write a picture of boxes (each (n, n)), with one contrast for all, large ones shown smaller by block means."""
    step = max(1, -(-boxes[0].shape[0] // _SIDE))
    side = boxes[0].shape[0] // step
    small = np.stack([box[: side * step, : side * step].reshape(side, step, side, step).mean((1, 3)) for box in boxes])
    columns = min(COLUMNS, len(small))
    rows = -(-len(small) // columns)
    pixels = contrast(small.reshape(-1, side)).reshape(small.shape)
    sheet = np.zeros((rows * columns, side + 2, side + 2), dtype=np.uint8)
    sheet[: len(small), 1:-1, 1:-1] = pixels
    write_png(path, sheet.reshape(rows, columns, side + 2, side + 2).swapaxes(1, 2).reshape(rows * (side + 2), -1))
