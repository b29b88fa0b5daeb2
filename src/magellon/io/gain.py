"""Gain references, turned to lie as the movie lies and always to be multiplied with it.

| file | rows | operation |
|---|---|---|
| TIFF, DM4 | flipped in y on reading | multiply |
| MRC | as in the file | multiply |
| `.gain` (EER's) | as in the file | multiply |
| MRC with an EER movie | as in the file | mean / gain |
| TIFF with an EER movie | flipped | mean / gain |
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.dm4 import read_dm4
from magellon.io.files import find_suffix
from magellon.io.movie_header import MovieFormat
from magellon.io.mrc import open_mrc, require_finite
from magellon.io.tiff import TiffFile

Flip = Literal["none", "x", "y"]
_MAX_FACTOR = 1e6
GAIN_SUFFIXES = (".mrc", ".mrcs", ".tif", ".tiff", ".gain", ".dm4", ".dm3")


def read_gain(
    path: Path | str, *, movie_format: MovieFormat, shape: tuple[int, int], rotation: int = 0, flip: Flip = "none"
) -> NDArray[np.float32]:
    """Read a gain reference for a movie.

    Args:
        shape: (height, width) of the movie's frames as `open_movie` gives them.
        rotation: 0, 90, 180 or 270 degrees counter-clockwise as displayed with row 0 on top, applied before the flip.
        flip: mirror left-right ("x") or top-bottom ("y").

    Returns:
        Factors (height, width) to multiply with the frames; 0 marks a dead pixel.

    Raises:
        BadInput: damaged, negative, all zero, or its size is no whole multiple or fraction of the movie's.
    """
    image = read_reference_image(path)
    if image.min() < 0:
        raise BadInput(f"{path}: the gain has {int((image < 0).sum())} negative pixels, down to {image.min():g}")
    if not image.any():
        raise BadInput(f"{path}: the gain is 0 everywhere")
    gain = match_shape(turn(image, rotation, flip), shape, path)
    if movie_format == "eer" and find_suffix(path) != ".gain":
        gain = _invert(gain, path)
    return np.ascontiguousarray(gain, dtype=np.float32)


def _invert(gain: NDArray[np.float32], path: Path | str) -> NDArray[np.float32]:
    """mean / gain; 0 stays 0."""
    mean = gain.mean(dtype=np.float64)
    factors = np.divide(mean, gain, out=np.zeros(gain.shape), where=gain > 0)
    if factors.max() > _MAX_FACTOR:
        raise BadInput(
            f"{path}: the gain is {gain[gain > 0].min():g} somewhere, with a mean of {mean:g}: it cannot be divided by"
        )
    inverted: NDArray[np.float32] = factors.astype(np.float32)
    return inverted


def read_reference_image(path: Path | str) -> NDArray[np.float32]:
    """An image that belongs to a detector (gain or map of defects), rows as the movies' readers give theirs.

    Raises:
        BadInput: damaged, not one image, or of another format.
    """
    suffix = find_suffix(path)
    if suffix in {".mrc", ".mrcs", ".map"}:
        with open_mrc(path) as mrc:
            if len(mrc) != 1:
                raise BadInput(f"{path}: one image expected, the file holds {len(mrc)}")
            return _as_float32(mrc.read(0), path)
    if suffix in {".tif", ".tiff", ".gain"}:
        with TiffFile(path) as tiff:
            image = _as_float32(tiff.read(0), path)
        return image if suffix == ".gain" else image[::-1]
    if suffix in {".dm3", ".dm4"}:
        return _as_float32(read_dm4(path), path)[::-1]
    raise BadInput(f"{path}: not a gain reference or map: its name ends in none of {', '.join(GAIN_SUFFIXES)}")


def _as_float32(image: NDArray[Any], path: Path | str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        converted = image.astype(np.float32, copy=False)
    require_finite(converted, str(path))
    return converted


def turn(image: NDArray[Any], rotation: int, flip: Flip) -> NDArray[Any]:
    """Rotate counter-clockwise by a multiple of 90 degrees, then mirror.

    Raises:
        ValueError: another angle or flip.
    """
    if rotation % 90 or flip not in ("none", "x", "y"):
        raise ValueError(f"rotation {rotation} is no multiple of 90 degrees, or flip {flip!r} is none of none, x, y")
    turned = np.rot90(image, rotation // 90)
    if flip == "none":
        return turned
    return turned[:, ::-1] if flip == "x" else turned[::-1]


def match_shape(image: NDArray[np.float32], shape: tuple[int, int], path: Path | str) -> NDArray[np.float32]:
    """Average or replicate by a whole factor until the image has `shape`.

    Raises:
        BadInput: no whole factor does it.
    """
    height, width = image.shape
    if (height, width) == shape:
        return image
    if height % shape[0] == 0 and width % shape[1] == 0 and height // shape[0] == width // shape[1]:
        factor = height // shape[0]
        blocks = image.reshape(shape[0], factor, shape[1], factor)
        means: NDArray[np.float64] = blocks.mean(axis=(1, 3), dtype=np.float64)
        return means.astype(np.float32)
    if shape[0] % height == 0 and shape[1] % width == 0 and shape[0] // height == shape[1] // width:
        factor = shape[0] // height
        return image.repeat(factor, axis=0).repeat(factor, axis=1)
    raise BadInput(
        f"{path}: {height} x {width} pixels (height x width), no whole multiple or part of the movie's {shape[0]} x {shape[1]}"
    )
