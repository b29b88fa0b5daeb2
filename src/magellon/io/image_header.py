"""Size and scale of one picture of a grid, whatever its format, read without its pixels."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from magellon.errors import BadInput
from magellon.io.files import find_suffix
from magellon.io.mrc_header import read_mrc_header

_MRC = (".mrc", ".map", ".st")
_LARGEST = 1 << 16


@dataclass(frozen=True)
class ImageHeader:
    """What a picture says of itself."""

    height: int
    width: int
    pixel_size: float | None = None
    """Å; only MRC files tell it."""


def read_image_header(path: Path) -> ImageHeader:
    """Of an MRC, JPEG, PNG or TIFF file.

    Raises:
        BadInput: no picture, damaged, several in one file, or with more than 65536 pixels a side.
    """
    header = _read_mrc(path) if find_suffix(path) in _MRC else _read_picture(path)
    if max(header.height, header.width) > _LARGEST:
        raise BadInput(f"{path}: {header.width} x {header.height} px, at most {_LARGEST} a side")
    return header


def _read_mrc(path: Path) -> ImageHeader:
    header = read_mrc_header(path)
    if header.sections != 1:
        raise BadInput(f"{path}: {header.sections} images in one file, must be one: a montage has to be put together first")
    known = header.pixel_size is not None and 1.5 < header.pixel_size < 1e5  # 1: never set by whoever wrote it
    return ImageHeader(header.height, header.width, header.pixel_size if known else None)


def _read_picture(path: Path) -> ImageHeader:
    try:
        with Image.open(path) as image:
            frames = getattr(image, "n_frames", 1)
            header = ImageHeader(image.height, image.width)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError) as error:
        raise BadInput(f"{path}: is no picture that can be read ({error})") from error
    if frames != 1:
        raise BadInput(f"{path}: {frames} images in one file, must be one")
    return header
