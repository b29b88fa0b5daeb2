"""Gain references, turned to lie as the movie lies and always to be multiplied with it."""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.movie_reader import MovieFormat
from magellon.io.mrc import read_mrc, require_finite
from magellon.io.tiff import TiffFile

Flip = Literal["none", "x", "y"]


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
        BadInput: damaged, or its size is no whole multiple or part of the movie's.
    """
    image, reciprocal = _read_stored(path, movie_format)
    gain = turn(image, rotation, flip)
    gain = match_shape(gain, shape, path)
    if reciprocal:
        positive = gain > 0
        mean = float(gain[positive].mean(dtype=np.float64)) if positive.any() else 0.0
        gain = np.where(positive, mean / np.where(positive, gain, 1), 0).astype(np.float32)
    return np.ascontiguousarray(gain, dtype=np.float32)


def turn(image: NDArray[np.float32], rotation: int, flip: Flip) -> NDArray[np.float32]:
    """Rotate counter-clockwise by a multiple of 90 degrees, then mirror."""
    if rotation % 90:
        raise ValueError(f"rotation {rotation} is no multiple of 90 degrees")
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
        f"{path}: the gain is {height} x {width} pixels (height x width), is no whole multiple or part of the movie's "
        f"{shape[0]} x {shape[1]}"
    )


def _read_stored(path: Path | str, movie_format: MovieFormat) -> tuple[NDArray[np.float32], bool]:
    """The image in the movie's row order, and whether it is to be divided by instead of multiplied with."""
    name = Path(path)
    suffix = (Path(name.stem).suffix if name.suffix.lower() in {".gz", ".bz2"} else name.suffix).lower()
    if suffix in {".tif", ".tiff", ".gain"}:
        with TiffFile(path) as tiff:
            image = tiff.read(0).astype(np.float32)
        require_finite(image, str(path))
        if suffix == ".gain":
            return image, False
        return image[::-1], movie_format == "eer"
    image = read_mrc(path)
    if image.ndim != 2:
        raise BadInput(f"{path}: a gain is one image, this file holds {image.shape[0]}")
    return image.astype(np.float32, copy=False), movie_format == "eer"
