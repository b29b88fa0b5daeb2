"""Lists and maps of bad detector pixels, turned as the gain is."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.files import open_binary, reading
from magellon.io.gain import Flip


def read_defects(path: Path | str, shape: tuple[int, int], *, rotation: int = 0, flip: Flip = "none") -> NDArray[np.bool_]:
    """Read bad pixels for a movie.

    Args:
        shape: (height, width) of the movie's frames as `open_movie` gives them.

    Returns:
        (height, width), True where the detector is bad.

    Raises:
        BadInput: not a defect list, or one that does not fit the movie.
    """
    with reading(path), open_binary(path) as file:
        lines = file.read().decode("utf-8", "replace").splitlines()
    bad = np.zeros(shape, dtype=np.bool_)
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            x, y, width, height = (int(word) for word in words)
        except ValueError:
            raise BadInput(f"{path}: line {number} is not 'x y width height': {line[:60]!r}") from None
        if min(x, y) < 0 or min(width, height) < 1 or x + width > shape[1] or y + height > shape[0]:
            raise BadInput(f"{path}: line {number}: {line.strip()!r} lies outside the movie's {shape[1]} x {shape[0]} pixels")
        bad[y : y + height, x : x + width] = True
    return bad
