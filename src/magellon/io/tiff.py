"""Pixels of TIFF images and movies, one page at a time.

Arrays are in the file's own row order; who reads a movie or a gain turns them (see `magellon.io.movie`).
"""

import struct
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.files import is_compressed, open_binary, reading
from magellon.io.mrc import unpack_4bit
from magellon.io.source import ByteSource
from magellon.io.tiff_header import Packing, TiffPage, find_packing, read_tiff_header, require_equal_pages

_COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32773: "PackBits", 32946: "deflate", 50000: "Zstandard"}
_KINDS = {"u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"}


class TiffFile:
    """A TIFF file read one page at a time; several threads may read at once. A context manager."""

    def __init__(self, path: Path | str) -> None:
        """
        Raises:
            BadInput: damaged, pages of different size, or a kind of pixel or compression that detectors do not write.
        """
        self.path = Path(path)
        self._unpacked: bytes | None = None
        if is_compressed(path):
            with reading(path), open_binary(path) as file:
                self._unpacked = file.read()
        header = read_tiff_header(path, self._unpacked)
        self.little_endian = header.little_endian
        self.pages = header.pages
        first = self.pages[0]
        require_equal_pages(self.pages, path)
        for number, page in enumerate(self.pages, 1):
            if page.compression not in _COMPRESSIONS:
                raise BadInput(f"{path}: page {number}: compression {page.compression} is not supported")
        self.packing: Packing = find_packing(first)
        self.dtype = _find_dtype(first, path)
        self._source = None if self._unpacked is not None else ByteSource(path)

    @property
    def compression(self) -> str:
        """Name of the compression."""
        return _COMPRESSIONS[self.pages[0].compression]

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of a page, unpacked."""
        first = self.pages[0]
        return first.height, first.width * 2 if self.packing == "half-width" else first.width

    def read(self, index: int) -> NDArray[Any]:
        """One page, (height, width), in the machine's byte order and the file's type; 4-bit pixels as uint8.

        Raises:
            IndexError: no such page.
            BadInput: the page is damaged.
        """
        page = self.pages[index]
        where = f"{self.path}: page {index + 1}"
        data = [self._read_bytes(*strip) for strip in zip(page.strip_offsets, page.strip_bytes, strict=True)]
        found, expected = sum(map(len, data)), sum(page.strip_bytes)
        if found < expected:
            raise BadInput(f"{where}: truncated: {found} bytes found, {expected} expected")
        raw = self._decode(page, data, where)
        if self.packing == "none":
            return raw
        return unpack_4bit(raw)[:, : self.shape[1]]

    def _read_bytes(self, offset: int, count: int) -> bytes | bytearray:
        if self._unpacked is not None:
            return self._unpacked[offset : offset + count]
        if self._source is None:
            raise ValueError(f"{self.path} is closed")
        return self._source.read(offset, count)

    def _decode(self, page: TiffPage, strips: list[bytes | bytearray], where: str) -> NDArray[Any]:
        width, dtype = page.width, self.dtype
        if self.packing == "rows":
            width = (page.width + 1) // 2
        if page.compression == 1:
            data = b"".join(strips)
            needed = page.height * width * dtype.itemsize
            if len(data) < needed:
                raise BadInput(f"{where}: truncated: {len(data)} bytes of pixels found, {needed} expected")
            stored = np.frombuffer(
                data, dtype=dtype.newbyteorder("<" if self.little_endian else ">"), count=page.height * width
            )
            return stored.reshape(page.height, width).astype(dtype)
        single = _wrap_page(page, strips, width, dtype, "<" if self.little_endian else ">")
        try:
            image: NDArray[Any] = imagecodecs.tiff_decode(single, index=0)
        except (RuntimeError, ValueError, TypeError) as error:
            raise BadInput(f"{where}: damaged {_COMPRESSIONS[page.compression]} data ({error})") from error
        if image.shape != (page.height, width) or image.dtype != dtype:
            raise BadInput(f"{where}: damaged: decoded to {image.dtype} of shape {image.shape}")
        return image

    def close(self) -> None:
        if self._source is not None:
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _wrap_page(page: TiffPage, strips: list[bytes | bytearray], width: int, dtype: np.dtype[Any], order: str) -> bytes:
    """A TIFF file in memory of this page alone.

    libtiff decodes it about twice as fast as strip by strip, and unlike a mapped file it cannot vanish while it is read.
    """
    sample_format = {"u": 1, "i": 2, "f": 3}[dtype.kind]
    sizes = [len(strip) for strip in strips]
    data = b"".join(strips)
    tables = 8 + len(data) + len(data) % 2
    starts = [8 + sum(sizes[:i]) for i in range(len(sizes))] if len(sizes) < 3 else list(8 + np.cumsum([0, *sizes[:-1]]))
    count = len(strips)
    short, long4 = 3, 4
    directory = tables + (8 * count if count > 1 else 0)
    offsets, counts = (tables, tables + 4 * count) if count > 1 else (starts[0], sizes[0])
    entries = [
        (256, long4, 1, width),
        (257, long4, 1, page.height),
        (258, short, 1, dtype.itemsize * 8),
        (259, short, 1, page.compression),
        (262, short, 1, 1),
        (273, long4, count, offsets),
        (277, short, 1, 1),
        (278, long4, 1, page.rows_per_strip),
        (279, long4, count, counts),
        (317, short, 1, page.predictor),
        (339, short, 1, sample_format),
    ]
    table = struct.pack(f"{order}{2 * count}I", *starts, *sizes) if count > 1 else b""
    packed = b"".join(
        struct.pack(f"{order}HHI" + ("I" if kind == long4 else "HH"), tag, kind, n, *([value] if kind == long4 else [value, 0]))
        for tag, kind, n, value in entries
    )
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, directory)
    return b"".join([head, data, bytes(len(data) % 2), table, struct.pack(order + "H", len(entries)), packed, bytes(4)])


def _find_dtype(page: TiffPage, path: Path | str) -> np.dtype[Any]:
    if page.bits == 4 and page.sample_format == 1:
        return np.dtype("u1")
    code = f"{ ({1: 'u', 2: 'i', 3: 'f'}.get(page.sample_format)) }{page.bits // 8}"
    if page.bits % 8 or code not in _KINDS:
        raise BadInput(f"{path}: pixels of {page.bits} bits, sample format {page.sample_format}, are not supported")
    return np.dtype(code)
