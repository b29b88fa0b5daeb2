"""What the tags of an EER movie say, read without numpy.

Source: Guo et al. 2020, IUCrJ 7, 860; Thermo Fisher Scientific's public description of the format.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from magellon.errors import BadInput
from magellon.io.tiff_header import EER_METADATA, TiffPage, read_tiff_header

_RUN_BITS, _X_BITS, _Y_BITS = 65007, 65008, 65009
_ITEM = re.compile(r'<item name="([^"<>]+)"(?: unit="([^"<>]*)")?>([^<]*)</item>')


@dataclass(frozen=True)
class EerCoding:
    """How a compression number writes its codes."""

    compression: int
    run_bits: int
    x_bits: int = 2
    y_bits: int = 2

    @property
    def full_run(self) -> int:
        """The run length that stands for empty pixels without an event after them."""
        return (1 << self.run_bits) - 1

    @property
    def full_run_bits(self) -> int:
        """Only the 8-bit coding keeps the sub-pixel bits after a full run."""
        return self.run_bits + self.x_bits + self.y_bits if self.compression == 65000 else self.run_bits


CODINGS = {65000: EerCoding(65000, 8), 65001: EerCoding(65001, 7), 65002: EerCoding(65002, 6, 2, 2)}


@dataclass(frozen=True)
class EerHeader:
    """An EER movie's raw frames."""

    width: int
    height: int
    """Detector pixels."""
    coding: EerCoding
    pages: tuple[TiffPage, ...]
    """One per raw frame."""
    metadata: dict[str, str]
    """Items of the acquisition metadata by name, as text."""
    pixel_size: float | None
    """Å per detector pixel; None when the file does not say."""


def read_eer_header(path: Path | str) -> EerHeader:
    """Read the tags of every raw frame.

    Raises:
        BadInput: damaged, not EER, or frames of different size.
    """
    pages = read_tiff_header(path).pages
    frames = tuple(page for page in pages if page.compression in CODINGS)
    if not frames:
        known = ", ".join(map(str, CODINGS))
        raise BadInput(f"{path}: not an EER movie: compression {pages[0].compression} is none of {known}")
    first = frames[0]
    for number, page in enumerate(frames, 1):
        if (page.width, page.height, page.compression) != (first.width, first.height, first.compression):
            raise BadInput(
                f"{path}: raw frame {number} is {page.width} x {page.height} of compression {page.compression}, "
                f"the first {first.width} x {first.height} of {first.compression}"
            )
    items = _ITEM.findall(pages[0].text(EER_METADATA) or first.text(EER_METADATA))
    metadata = {name: value.strip() for name, _, value in items}
    units = {name: unit for name, unit, _ in items}
    return EerHeader(first.width, first.height, _find_coding(first, path), frames, metadata, _find_pixel_size(metadata, units))


def _find_coding(page: TiffPage, path: Path | str) -> EerCoding:
    if page.compression != 65002:
        return CODINGS[page.compression]
    run, x, y = (int(page.number(tag) or default) for tag, default in ((_RUN_BITS, 7), (_X_BITS, 2), (_Y_BITS, 2)))
    if not (4 <= run <= 14 and 1 <= x <= 2 and 1 <= y <= 2 and 9 <= run + x + y <= 16):
        raise BadInput(f"{path}: EER codes of {run} run bits and {x} x {y} sub-pixel bits are not supported")
    return EerCoding(65002, run, x, y)


def _find_pixel_size(metadata: dict[str, str], units: dict[str, str]) -> float | None:
    """Å/px, when it is of the order of a specimen's rather than a detector's pixel."""
    name = "sensorPixelSize.width"
    try:
        size = float(metadata.get(name, "")) * 1e10
    except ValueError:
        return None
    return size if units[name] == "m" and 0.05 < size < 100 else None
