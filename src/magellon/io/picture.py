"""Pictures for people: PNG files of images at a fixed contrast."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFont

from magellon.io.files import replacing

PERCENTILES = (0.5, 99.5)
"""Darkest and brightest value shown; what lies beyond is clipped."""
_SAMPLES = 1 << 20


def contrast(image: NDArray[Any], percentiles: tuple[float, float] = PERCENTILES) -> NDArray[np.uint8]:
    """Scale an image (y, x) to 0..255 between two percentiles of its finite pixels; others become 0.

    The percentiles are those of at most about a million pixels on a regular grid.
    """
    with np.errstate(over="ignore"):
        values = np.asarray(image, dtype=np.float32)
    step = max(int((values.size / _SAMPLES) ** 0.5), 1)
    sample = values[::step, ::step]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return np.zeros(values.shape, dtype=np.uint8)
    low, high = (float(level) for level in np.percentile(sample, percentiles))
    if high <= low:
        low, high = low - 0.5, low + 0.5
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.clip((values - np.float32(low)) * np.float32(255.0 / (high - low)), 0, 255)
    shown: NDArray[np.uint8] = np.nan_to_num(np.rint(scaled), nan=0.0).astype(np.uint8)
    return shown


@lru_cache(maxsize=16)
def load_font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which has Å and Greek letters, as matplotlib brings it.

    Its file is found without importing matplotlib, which takes half a second.

    Args:
        size: px.

    Raises:
        RuntimeError: matplotlib is not installed.
    """
    found = find_spec("matplotlib")
    if found is None or found.origin is None:
        raise RuntimeError("matplotlib, which brings the font of the pictures, is not installed")
    return ImageFont.truetype(Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf", size)


def shrink(image: NDArray[Any], max_size: int) -> NDArray[Any]:
    """Average blocks of whole pixels until no side is longer than `max_size`; a rest at the far edges is left out."""
    factor = -(-max(image.shape[:2]) // max_size)
    if factor <= 1:
        return image
    height, width = (max(side // factor, 1) for side in image.shape[:2])
    block_y, block_x = min(factor, image.shape[0]), min(factor, image.shape[1])
    cropped = np.asarray(image[: height * block_y, : width * block_x], dtype=np.float32)
    means: NDArray[np.float32] = cropped.reshape(height, block_y, width, block_x).mean(axis=(1, 3))
    return means


def write_png(path: Path | str, array: NDArray[Any], max_size: int | None = None) -> None:
    """Write a picture with row 0 on top; the file holds no time.

    Args:
        array: uint8 (y, x) grey or (y, x, 3) colours as they are, or any other numbers (y, x) at `contrast`.
        max_size: longest side; larger images of numbers are averaged down before the contrast is set.

    Raises:
        ValueError: other dimensions.
    """
    array = np.asarray(array)
    if array.ndim == 2 and max_size is not None:
        array = shrink(array, max_size)
    if array.ndim == 2 and array.dtype != np.uint8:
        array = contrast(array)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)):
        raise ValueError(f"a picture is (y, x) or uint8 (y, x, 3), not {array.dtype} of shape {array.shape}")
    with replacing(path) as temporary:
        Image.fromarray(array).save(temporary, format="PNG")
