"""Pictures of grids as microscopes and databases leave them: MRC, TIFF, JPEG, PNG."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from magellon.errors import BadInput
from magellon.io.files import find_suffix, reading
from magellon.io.mrc import open_mrc, require_finite
from magellon.io.tiff import TiffFile

LARGEST = 600_000_000
"""Pixels; more than any atlas has."""
_TIFF = {".tif", ".tiff"}
_BITS, _PLANAR, _APART = 258, 284, 2
"""Tags of a TIFF: bits of each colour, how colours lie, and that value of it which says: plane by plane."""
_MRC = {".mrc", ".mrcs", ".map", ".st"}
SUFFIXES = (".mrc", ".mrcs", ".map", ".st", ".tif", ".tiff", ".jpg", ".jpeg", ".png")
"""Of the files that can be read; `.gz` and `.bz2` may follow those of MRC and TIFF."""


def read_grid_image(path: Path | str, warn: Callable[[str], None] | None = None) -> NDArray[np.float32]:
    """The picture (height, width); colours become grey, row 0 is the file's first row.

    Pixels that are NaN or infinite, as where a montage has no piece, become as bright as the median of the others.

    Args:
        warn: told how many these were.

    Raises:
        BadInput: missing, damaged, of another format, several pictures in one file, no pixels, or more than half of them NaN
            or infinite.
    """
    path = Path(path)
    suffix = find_suffix(path)
    if suffix in _MRC:
        image = _read_mrc(path)
    elif suffix in _TIFF:
        image = _read_tiff(path)
    else:
        image = _read_picture(path)
    if image.ndim != 2 or image.size == 0:
        raise BadInput(f"{path}: shape {image.shape} is no picture")
    with np.errstate(over="ignore"):
        values: NDArray[np.float32] = np.require(image, dtype=np.float32, requirements=["C", "W"])
    missing = ~np.isfinite(values)
    count = int(missing.sum())
    if count > values.size / 2:
        require_finite(values, str(path))
    if count:
        values[missing] = np.median(values[~missing])
        if warn is not None:
            warn(f"{count} of {values.size} pixels are NaN or infinite and were taken for as bright as the median")
    return values


def _read_mrc(path: Path) -> NDArray[np.float32]:
    with open_mrc(path) as file:
        if len(file) != 1:
            raise BadInput(f"{path}: holds {len(file)} pictures; a montage has to be joined into one first")
        _require_size(path, file.header.width, file.header.height)
        image: NDArray[np.float32] = file.read(0, finite=False)
    return image


def _read_tiff(path: Path) -> NDArray[np.float32]:
    try:
        file = TiffFile(path)
    except BadInput:
        return _read_picture(path)  # colours and the like, which no detector writes but people do
    with file:
        if len(file.pages) != 1:
            raise BadInput(f"{path}: holds {len(file.pages)} pictures; a montage has to be joined into one first")
        _require_size(path, file.shape[1], file.shape[0])
        return file.read(0).astype(np.float32)


def _read_picture(path: Path) -> NDArray[np.float32]:
    with reading(path), path.open("rb"):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                _require_size(path, file.width, file.height)
                _require_interleaved(path, file)
                deep = file.mode.startswith(("I", "F"))
                return np.asarray(file.convert("F" if deep or file.mode == "L" else "L"), dtype=np.float32)
    except BadInput:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"{path}: no MRC, TIFF, JPEG or PNG picture, or a damaged one ({error})") from error


def _require_interleaved(path: Path, file: Image.Image) -> None:
    """Pillow reads 16-bit colours that lie plane by plane as noise."""
    tags = getattr(file, "tag_v2", {})
    if tags.get(_PLANAR) == _APART and max(tags.get(_BITS, (8,))) > 8:
        raise BadInput(f"{path}: colours of more than 8 bits that lie apart are not supported; save the picture in grey")


def _require_size(path: Path, width: int, height: int) -> None:
    if width * height > LARGEST:
        raise BadInput(f"{path}: {width} x {height} px; pictures of a grid have at most {LARGEST // 1_000_000} million pixels")
