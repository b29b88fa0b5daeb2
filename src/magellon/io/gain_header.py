"""The size of a gain reference or map of defects, read without numpy: for finding the one that fits a session's movies."""

import re
from pathlib import Path

from magellon.errors import BadInput
from magellon.io.dm4_header import read_dm4_header
from magellon.io.files import find_suffix
from magellon.io.metadata_files import read_text
from magellon.io.mrc_header import read_mrc_header
from magellon.io.tiff_header import read_tiff_header

GAIN_SUFFIXES = (".mrc", ".mrcs", ".tif", ".tiff", ".gain", ".dm4", ".dm3")
_CAMERA = re.compile(r"^\s*CameraSize([XY])\s+(\d+)", re.MULTILINE)


def read_gain_size(path: Path | str) -> tuple[int, int]:
    """(height, width).

    Raises:
        BadInput: damaged, not one image, or of another format.
    """
    suffix = find_suffix(path)
    if suffix in {".mrc", ".mrcs", ".map"}:
        mrc = read_mrc_header(path)
        if mrc.sections != 1:
            raise BadInput(f"{path}: one image expected, the file holds {mrc.sections}")
        return mrc.height, mrc.width
    if suffix in {".tif", ".tiff", ".gain"}:
        page = read_tiff_header(path).pages[0]
        return page.height, page.width
    if suffix in {".dm3", ".dm4"}:
        image = read_dm4_header(path)
        return image.height, image.width
    raise BadInput(f"{path}: not a gain reference or map: its name ends in none of {', '.join(GAIN_SUFFIXES)}")


def read_defects_size(path: Path | str) -> tuple[int, int] | None:
    """(height, width) of the camera; None for a list that does not say.

    Raises:
        BadInput: a map as `read_gain_size`; a list that is no text.
    """
    if find_suffix(path) in GAIN_SUFFIXES:
        return read_gain_size(path)
    found = dict(_CAMERA.findall(read_text(path)))
    return (int(found["Y"]), int(found["X"])) if len(found) == 2 else None


def fits_movie(size: tuple[int, int], movie: tuple[int, int]) -> bool:
    """Whether a reference of this size can be turned and scaled by a whole factor to a movie's (height, width)."""
    return any(_scales(turned, movie) or _scales(movie, turned) for turned in (size, size[::-1]))


def _scales(large: tuple[int, int], small: tuple[int, int]) -> bool:
    return large[0] % small[0] == 0 and large[1] % small[1] == 0 and large[0] // small[0] == large[1] // small[1]
