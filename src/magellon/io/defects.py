"""Bad detector pixels: MotionCor's lists, maps, and SerialEM's lists.

Lists of rectangles and maps lie as the movie does (a TIFF map is flipped as TIFF movies are). SerialEM's lists lie as the
gain reference beside them once their own turn is undone, so they are turned as the gain is.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.files import find_suffix, open_binary, reading, replacing
from magellon.io.gain import GAIN_SUFFIXES, Flip, match_shape, read_reference_image, turn
from magellon.io.serialem_defects import parse_serialem_defects

_MAX_LIST_BYTES = 64 << 20


def read_defects(path: Path | str, shape: tuple[int, int], *, rotation: int = 0, flip: Flip = "none") -> NDArray[np.bool_]:
    """Read bad pixels for a movie.

    Args:
        shape: (height, width) of the movie's frames as `open_movie` gives them.
        rotation: of the gain, degrees counter-clockwise; only SerialEM's lists are turned.
        flip: of the gain, likewise.

    Returns:
        (height, width), True where the detector is bad.

    Raises:
        BadInput: not a defect list or map, or one that does not fit the movie.
    """
    if find_suffix(path) in GAIN_SUFFIXES:
        image = read_reference_image(path)
        bad = (image != 0).astype(np.float32)
        return match_shape(bad, shape, path) > 0
    with reading(path), open_binary(path) as file:
        raw = file.read(_MAX_LIST_BYTES)
    if b"\0" in raw:
        raise BadInput(f"{path}: not a defect list: it holds binary data")
    text = raw.decode("utf-8", "replace")
    if "CameraSizeX" in text:
        mask = np.ascontiguousarray(parse_serialem_defects(text, path)[::-1])
        return match_shape(turn(mask, rotation, flip).astype(np.float32), shape, path) > 0
    return _parse_rectangles(text, shape, path)


def _parse_rectangles(text: str, shape: tuple[int, int], path: Path | str) -> NDArray[np.bool_]:
    bad = np.zeros(shape, dtype=np.bool_)
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            x, y, width, height = (int(word) for word in words)
        except ValueError:
            raise BadInput(f"{path}: line {number} is not 'x y width height': {line[:60]!r}") from None
        if min(x, y) < 0 or min(width, height) < 1 or x + width > shape[1] or y + height > shape[0]:
            raise BadInput(
                f"{path}: line {number}: {line.strip()[:60]!r} lies outside the movie's {shape[1]} x {shape[0]} pixels"
            )
        bad[y : y + height, x : x + width] = True
    return bad


def write_defects(path: Path | str, rectangles: list[tuple[int, int, int, int]]) -> None:
    """Write a list of (x, y, width, height) as MotionCor and RELION read it."""
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{x}\t{y}\t{width}\t{height}\n" for x, y, width, height in rectangles), encoding="ascii")
