"""Pixels of TIFF images and movies, one page at a time.

Arrays are in the file's own row order; who reads a movie or a gain turns them (see `magellon.io.movie`).
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.files import reading
from magellon.io.mrc import read_at, unpack_4bit
from magellon.io.tiff_header import RESOLUTION_UNIT, X_RESOLUTION, TiffPage, read_tiff_header

_DECODERS: dict[int, Callable[..., Any]] = {
    5: imagecodecs.lzw_decode,
    8: imagecodecs.zlib_decode,
    32773: imagecodecs.packbits_decode,
    32946: imagecodecs.zlib_decode,
    50000: imagecodecs.zstd_decode,
}
_PACKED_SHAPES = {(8184, 5760), (5760, 8184), (11520, 4092), (4092, 11520), (7420, 3838), (7676, 3710)}


class TiffFile:
    """A TIFF file read one page at a time; several threads may read at once. A context manager."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        header = read_tiff_header(path)
        self.little_endian = header.little_endian
        self.pages = header.pages
        first = self.pages[0]
        for number, page in enumerate(self.pages, 1):
            if (page.width, page.height, page.bits) != (first.width, first.height, first.bits):
                raise BadInput(
                    f"{path}: page {number} is {page.width} x {page.height} of {page.bits} bits, "
                    f"the first is {first.width} x {first.height} of {first.bits}"
                )
        self.packed = is_packed(first)
        self._dtype = self._find_dtype(first)
        with reading(path):
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by close()

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of a page, unpacked."""
        first = self.pages[0]
        return first.height, first.width * 2 if self.packed == "whole" else first.width

    def _find_dtype(self, page: TiffPage) -> np.dtype[Any]:
        kind = {1: "u", 2: "i", 3: "f"}.get(page.sample_format)
        if page.bits == 4:
            return np.dtype("u1")
        code = f"{kind}{page.bits // 8}"
        if page.bits % 8 or code not in {"u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"}:
            raise BadInput(f"{self.path}: pixels of {page.bits} bits, sample format {page.sample_format}, are not supported")
        return np.dtype(("<" if self.little_endian else ">") + code)

    def read(self, index: int) -> NDArray[Any]:
        """One page, (height, width), in the machine's byte order and the file's type.

        Raises:
            BadInput: the page is damaged or its compression unknown.
        """
        page = self.pages[index]
        row_bytes = (page.width * page.bits + 7) // 8
        out = np.empty((page.height, row_bytes), dtype=np.uint8)
        for strip in range(len(page.strip_offsets)):
            rows = out[strip * page.rows_per_strip : (strip + 1) * page.rows_per_strip]
            self._read_strip(page, index, strip, rows)
        image = out.view(self._dtype)
        if page.predictor == 2:
            image = np.cumsum(image, axis=1, dtype=image.dtype.newbyteorder("="))
        if self.packed:
            image = unpack_4bit(out)[:, : self.shape[1]]
        return image if image.dtype.isnative else image.astype(image.dtype.newbyteorder("="))

    def _read_strip(self, page: TiffPage, index: int, strip: int, rows: NDArray[np.uint8]) -> None:
        where = f"{self.path}: page {index + 1}"
        with reading(self.path):
            raw = read_at(self._file.fileno(), page.strip_offsets[strip], page.strip_bytes[strip])
        if page.compression != 1:
            decoder = _DECODERS.get(page.compression)
            if decoder is None:
                raise BadInput(f"{where}: compression {page.compression} is not supported")
            try:
                raw = decoder(raw, out=rows.size)
            except (RuntimeError, ValueError) as error:
                raise BadInput(f"{where}: damaged compressed data ({error})") from error
        if len(raw) < rows.size:
            raise BadInput(f"{where}: truncated: strip {strip + 1} gives {len(raw)} bytes, {rows.size} expected")
        rows[:] = np.frombuffer(raw, dtype=np.uint8, count=rows.size).reshape(rows.shape)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def is_packed(page: TiffPage) -> str:
    """Whether two 4-bit pixels share a byte: "" no, "row" as the tags say, "whole" as only the size of the image tells."""
    if page.bits == 4:
        return "row"
    if page.bits == 8 and (page.height, page.width) in _PACKED_SHAPES:
        return "whole"
    return ""


def find_pixel_size(page: TiffPage) -> float | None:
    """Å/px from the resolution tags, when they are of the order of a microscope's."""
    per_unit = page.number(X_RESOLUTION)
    unit = {2: 2.54e8, 3: 1e8}.get(int(page.number(RESOLUTION_UNIT) or 0))
    if not per_unit or unit is None:
        return None
    size = unit / per_unit
    return size if 0.05 < size < 100 else None
