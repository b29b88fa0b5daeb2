"""The directories of TIFF and BigTIFF files (EER movies are BigTIFF), read without numpy.

Source: Adobe, TIFF 6.0 (1992); the BigTIFF extension (2007).
"""

import re
import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from magellon.errors import BadInput
from magellon.io.files import is_compressed, open_binary, reading

_TYPES = {1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "s", 8: "h", 9: "i", 10: "ii", 11: "f", 12: "d", 13: "I",
          16: "Q", 17: "q", 18: "Q"}  # fmt: skip
_MAX_PAGES = 1 << 20
_MAX_VALUE_BYTES = 1 << 26
_MAX_DIMENSION = 1 << 24
_MAX_PIXELS = 1 << 30

Packing = Literal["none", "rows", "half-width"]
_HALF_WIDTHS = {(5760, 8184), (4092, 11520), (3710, 7676), (3838, 7420)}
"""Sizes (either way) at which a byte image of a K3 or K2 in super-resolution holds two pixels a byte, as RELION decides."""
_PIXEL_SIZE = re.compile(r"pixel[ _]?(?:size|spacing)\s*[:=]?\s*([0-9.]+(?:[eE][-+]?\d+)?)", re.IGNORECASE)

Tag = int | float | bytes | tuple[int | float, ...]

WIDTH, HEIGHT, BITS, COMPRESSION, DESCRIPTION, STRIP_OFFSETS = 256, 257, 258, 259, 270, 273
SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, X_RESOLUTION, RESOLUTION_UNIT = 277, 278, 279, 282, 296
PREDICTOR, TILE_WIDTH, SAMPLE_FORMAT, EER_METADATA = 317, 322, 339, 65001


@dataclass(frozen=True)
class TiffPage:
    """One image of a TIFF file."""

    width: int
    height: int
    bits: int
    sample_format: int
    """1 unsigned, 2 signed, 3 floating point."""
    compression: int
    predictor: int
    rows_per_strip: int
    strip_offsets: tuple[int, ...]
    strip_bytes: tuple[int, ...]
    tags: dict[int, Tag]
    """All tags of the page by number."""

    def text(self, tag: int) -> str:
        """A tag as text; empty when absent."""
        value = self.tags.get(tag, b"")
        return value.split(b"\0")[0].decode("utf-8", "replace") if isinstance(value, bytes) else ""

    def number(self, tag: int) -> float | None:
        """A tag as one number; None when absent."""
        value = self.tags.get(tag)
        if isinstance(value, tuple):
            value = value[0] if value else None
        return value if isinstance(value, int | float) else None


@dataclass(frozen=True)
class TiffHeader:
    """The pages of a TIFF file."""

    little_endian: bool
    big_tiff: bool
    pages: tuple[TiffPage, ...]


def read_tiff_header(path: Path | str, unpacked: bytes | None = None) -> TiffHeader:
    """Read every page's directory.

    Args:
        unpacked: the content of a compressed file, when the caller has it already.

    Raises:
        BadInput: not a TIFF file, without pages, truncated, or a kind of image that a detector does not write.
    """
    with reading(path):
        if unpacked is None and is_compressed(path):
            with open_binary(path) as packed:
                unpacked = packed.read()
        with open(path, "rb") if unpacked is None else BytesIO(unpacked) as file:
            return _Reader(path, file).read()


class _Reader:
    def __init__(self, path: Path | str, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.size = file.seek(0, 2)

    def read(self) -> TiffHeader:
        if self.size == 0:
            raise BadInput(f"{self.path}: is empty")
        start = self._at(0, min(16, self.size))
        order = {b"II": "<", b"MM": ">"}.get(start[:2])
        version = struct.unpack_from(order + "H", start, 2)[0] if order and len(start) >= 8 else 0
        if order is None or version not in (42, 43) or (version == 43 and len(start) < 16):
            raise BadInput(f"{self.path}: not a TIFF file: it starts with {start[:4]!r}")
        self.order, self.big = order, version == 43
        offset = struct.unpack_from(order + ("Q" if self.big else "I"), start, 8 if self.big else 4)[0]
        pages: list[TiffPage] = []
        seen: set[int] = set()
        while offset:
            if offset in seen or len(pages) >= _MAX_PAGES:
                raise BadInput(f"{self.path}: page {len(pages) + 1} points back into the file: damaged")
            seen.add(offset)
            tags, offset = self._read_directory(offset, len(pages) + 1)
            pages.append(self._make_page(tags, len(pages) + 1))
        if not pages:
            raise BadInput(f"{self.path}: holds no page")
        return TiffHeader(order == "<", self.big, tuple(pages))

    def _at(self, offset: int, count: int) -> bytes:
        if offset + count > self.size:
            raise BadInput(f"{self.path}: truncated: {self.size} bytes found, at least {offset + count} expected")
        self.file.seek(offset)
        return self.file.read(count)

    def _read_directory(self, offset: int, number: int) -> tuple[dict[int, Tag], int]:
        count_size, entry_size, next_format = (8, 20, "Q") if self.big else (2, 12, "I")
        count = struct.unpack(self.order + ("Q" if self.big else "H"), self._at(offset, count_size))[0]
        if not 0 < count <= 4096:
            raise BadInput(f"{self.path}: page {number} claims {count} tags: damaged")
        next_size = struct.calcsize(next_format)
        raw = self._at(offset + count_size, count * entry_size + next_size)
        tags = {}
        for i in range(count):
            entry = raw[i * entry_size : (i + 1) * entry_size]
            tag = struct.unpack_from(self.order + "H", entry)[0]
            value = self._read_value(entry, number, tag)
            if value is not None:
                tags[tag] = value
        following: int = struct.unpack_from(self.order + next_format, raw, count * entry_size)[0]
        return tags, following

    def _read_value(self, entry: bytes, page: int, tag: int) -> Tag | None:
        kind, count = struct.unpack_from(self.order + ("HQ" if self.big else "HI"), entry, 2)
        code = _TYPES.get(kind)
        if code is None:
            return None
        length = struct.calcsize(self.order + code) * count
        if length > _MAX_VALUE_BYTES:
            raise BadInput(f"{self.path}: page {page}: tag {tag} claims {length} bytes: damaged")
        inline = entry[12:] if self.big else entry[8:]
        if length <= len(inline):
            raw = inline[:length]
        else:
            raw = self._at(struct.unpack(self.order + ("Q" if self.big else "I"), inline)[0], length)
        if code == "s":
            return raw
        if len(code) == 2:
            numbers = struct.unpack(f"{self.order}{2 * count}{code[0]}", raw)
            values: tuple[int | float, ...] = tuple(
                n / d if d else 0.0 for n, d in zip(numbers[0::2], numbers[1::2], strict=True)
            )
        else:
            values = struct.unpack(f"{self.order}{count}{code}", raw)
        return values[0] if len(values) == 1 else values

    def _make_page(self, tags: dict[int, Tag], number: int) -> TiffPage:
        where = f"{self.path}: page {number}"
        width, height = _whole(tags, WIDTH, 0, where), _whole(tags, HEIGHT, 0, where)
        if not (0 < width <= _MAX_DIMENSION and 0 < height <= _MAX_DIMENSION):
            raise BadInput(f"{where}: size {width} x {height} makes no sense")
        if width * height > _MAX_PIXELS:
            raise BadInput(f"{where}: {width} x {height} pixels, more than {_MAX_PIXELS}: damaged")
        if _whole(tags, SAMPLES, 1, where) != 1:
            raise BadInput(f"{where}: {_whole(tags, SAMPLES, 1, where)} samples per pixel (a colour image); one expected")
        if TILE_WIDTH in tags:
            raise BadInput(f"{where}: is stored in tiles, which no detector writes")
        rows = min(_whole(tags, ROWS_PER_STRIP, height, where), height)
        offsets, counts = _numbers(tags, STRIP_OFFSETS, where), _numbers(tags, STRIP_BYTES, where)
        compression = _whole(tags, COMPRESSION, 1, where)
        strips = len(offsets) if compression >= 65000 else -(-height // max(rows, 1))
        if rows < 1 or len(offsets) != strips or len(counts) != strips or not strips:
            raise BadInput(f"{where}: {len(offsets)} strips found, {strips} expected: damaged")
        end = max(offset + count for offset, count in zip(offsets, counts, strict=True))
        if end > self.size:
            raise BadInput(f"{where}: truncated: {self.size} bytes found, at least {end} expected")
        return TiffPage(
            width, height, _whole(tags, BITS, 1, where), _whole(tags, SAMPLE_FORMAT, 1, where), compression,
            _whole(tags, PREDICTOR, 1, where), rows, offsets, counts, tags,
        )  # fmt: skip


def _whole(tags: dict[int, Tag], tag: int, default: int, where: str) -> int:
    value = tags.get(tag, default)
    if isinstance(value, tuple) and value:
        value = value[0]
    if not isinstance(value, int):
        raise BadInput(f"{where}: tag {tag} is {str(value)[:40]}, not a whole number: damaged")
    return value


def _numbers(tags: dict[int, Tag], tag: int, where: str) -> tuple[int, ...]:
    value = tags.get(tag, ())
    values = value if isinstance(value, tuple) else (value,)
    if any(not isinstance(v, int) or v < 0 for v in values):
        raise BadInput(f"{where}: tag {tag} holds no offsets: damaged")
    return values  # type: ignore[return-value]


def require_equal_pages(pages: tuple[TiffPage, ...], path: Path | str) -> None:
    """Refuse a movie whose frames differ in size.

    Raises:
        BadInput: naming the first page that differs.
    """
    first = pages[0]
    for number, page in enumerate(pages, 1):
        if (page.width, page.height, page.bits) != (first.width, first.height, first.bits):
            raise BadInput(
                f"{path}: page {number} is {page.width} x {page.height} of {page.bits} bits, "
                f"the first is {first.width} x {first.height} of {first.bits}"
            )


def find_packing(page: TiffPage) -> Packing:
    """Whether two 4-bit pixels share a byte: "rows" as the tags say, "half-width" as only the image's size says."""
    if page.bits == 4:
        return "rows"
    size = (page.width, page.height)
    return "half-width" if page.bits == 8 and (size in _HALF_WIDTHS or size[::-1] in _HALF_WIDTHS) else "none"


def find_pixel_size(page: TiffPage) -> float | None:
    """Å/px from the description or the resolution tags, when it is of the order of a microscope's."""
    per_unit = page.number(X_RESOLUTION)
    unit = {2: 2.54e8, 3: 1e8}.get(int(page.number(RESOLUTION_UNIT) or 0))
    if per_unit and unit and 0.05 < unit / per_unit < 100:
        return unit / per_unit
    found = _PIXEL_SIZE.search(page.text(DESCRIPTION))
    try:
        size = float(found.group(1)) if found else 0.0
    except ValueError:
        return None
    return size if 0.05 < size < 100 else None
