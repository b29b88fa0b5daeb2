"""Images, stacks and movies in MRC files.

Arrays are (y, x) or (z, y, x) in the file's own order: row 0 of the array is the first row of the file.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.files import replacing
from magellon.io.mrc_header import HEADER_BYTES, MrcHeader, read_mrc_header
from magellon.io.source import ByteSource

Mode = Literal["int8", "int16", "float32", "uint16", "float16"]
_MODE_NUMBERS: dict[Mode, int] = {"int8": 0, "int16": 1, "float32": 2, "uint16": 6, "float16": 12}
_LABEL = b"Written by Magellon"


def read_mrc(path: Path | str, *, native: bool = False, finite: bool = True) -> NDArray[Any]:
    """Read a whole MRC file.

    Args:
        native: keep the type of the file's pixels; otherwise float32.
        finite: refuse pixels that are NaN or infinite.

    Returns:
        (y, x) when the file holds one section, else (z, y, x).

    Raises:
        BadInput: the file is damaged, or holds pixels that are not finite.
    """
    with open_mrc(path) as mrc:
        header = mrc.header
        first = mrc.read(0, native=native, finite=finite)
        if header.sections == 1:
            return first
        stack = np.empty((header.sections, header.height, header.width), dtype=first.dtype)
        stack[0] = first
        for index in range(1, header.sections):
            stack[index] = mrc.read(index, native=native, finite=finite)
    return stack


def open_mrc(path: Path | str) -> "MrcFile":
    """Open an MRC file to read it section by section. See `read_mrc` for what it raises."""
    return MrcFile(path)


class MrcFile:
    """An MRC file read one section at a time; several threads may read at once. A context manager."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.header: MrcHeader = read_mrc_header(path)
        self._source = ByteSource(path)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(sections, height, width), also for one image."""
        return self.header.sections, self.header.height, self.header.width

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels that `read(native=True)` gives, in the machine's byte order."""
        return _stored_dtype(self.header).newbyteorder("=")

    def read(self, index: int, *, native: bool = False, finite: bool = True) -> NDArray[Any]:
        """One section.

        Returns:
            (height, width), float32 unless `native`.

        Raises:
            IndexError: no such section.
            BadInput: the file is damaged, or holds pixels that are not finite.
        """
        if not 0 <= index < self.header.sections:
            raise IndexError(f"{self.path} has {self.header.sections} sections, no section {index}")
        raw = self._source.read(self.header.data_offset + index * self.header.section_bytes, self.header.section_bytes)
        if len(raw) < self.header.section_bytes:
            raise BadInput(
                f"{self.path}: truncated: section {index + 1} of {self.header.sections} has {len(raw)} bytes of "
                f"{self.header.section_bytes} expected"
            )
        image = decode_section(raw, self.header)
        if finite:
            require_finite(image, f"{self.path}: section {index + 1}")
        return image if native else image.astype(np.float32, copy=False)

    def __len__(self) -> int:
        return self.header.sections

    def __iter__(self) -> Iterator[NDArray[Any]]:
        return (self.read(index) for index in range(len(self)))

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def require_finite(image: NDArray[Any], what: str) -> None:
    """Refuse an image with NaN or infinite pixels.

    Raises:
        BadInput: naming `what` and how many there are.
    """
    if image.dtype.kind != "f":
        return
    bad = image.size - int(np.count_nonzero(np.isfinite(image)))
    if bad:
        raise BadInput(f"{what}: {bad} of {image.size} pixels are NaN or infinite")


def decode_section(raw: bytes | bytearray, header: MrcHeader) -> NDArray[Any]:
    """Pixels of one section, in the machine's byte order and the file's type; 4-bit pixels become uint8."""
    if header.packed:
        packed = np.frombuffer(raw, dtype=np.uint8).reshape(header.height, header.row_bytes)
        return unpack_4bit(packed)[:, : header.width]
    stored = _stored_dtype(header)
    image = np.frombuffer(raw, dtype=stored).reshape(header.height, header.width)
    return image.astype(stored.newbyteorder("="), copy=not image.flags.writeable)


def unpack_4bit(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two pixels from each byte, the low half first: (height, bytes) to (height, 2 x bytes)."""
    image = np.empty((packed.shape[0], packed.shape[1] * 2), dtype=np.uint8)
    image[:, 0::2] = packed & 15
    image[:, 1::2] = packed >> 4
    return image


def _stored_dtype(header: MrcHeader) -> np.dtype[Any]:
    if header.packed:
        return np.dtype("u1")
    kind = {0: "i1" if header.signed_bytes else "u1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}[header.mode]
    return np.dtype(("<" if header.little_endian else ">") + kind)


def write_mrc(
    path: Path | str, array: NDArray[Any], pixel_size: float, mode: Mode = "float32", *, volume: bool = False, label: str = ""
) -> None:
    """Write an image (y, x), a stack of images (z, y, x) or a volume, all at once.

    Args:
        pixel_size: Å/px; the header holds it as a STAR file prints it, to six decimals.
        mode: type of the pixels in the file. Values must fit it: nothing is scaled.
        volume: mark (z, y, x) as one volume rather than a stack of images.
        label: what the file says of itself, at most 80 ASCII characters.

    Raises:
        ValueError: wrong dimensions, pixel size, or values that the mode cannot hold.
        Transient: the disk is full.
    """
    stack = array[None] if array.ndim == 2 else array
    if stack.ndim != 3 or stack.size == 0:
        raise ValueError(f"an MRC file holds (y, x) or (z, y, x), not shape {array.shape}")
    with MrcStackWriter(path, stack.shape[1:], pixel_size, mode, volume=volume, label=label) as writer:
        for image in stack:
            writer.append(image)


class MrcStackWriter:
    """Writes images of equal size one after another; the file appears when the context ends without an error.

    The header's statistics are those of what was written. The result depends only on the arguments and the images.
    """

    def __init__(
        self,
        path: Path | str,
        shape: int | tuple[int, ...],
        pixel_size: float,
        mode: Mode = "float32",
        *,
        volume: bool = False,
        label: str = "",
    ) -> None:
        """
        Args:
            shape: (height, width), or the side of a square box.
            pixel_size: Å/px.
        """
        height, width = (shape, shape) if isinstance(shape, int) else shape
        if not (np.isfinite(pixel_size) and pixel_size > 0):
            raise ValueError(f"pixel size {pixel_size} Å is not positive")
        self.path = Path(path)
        self._shape, self._pixel_size, self._mode = (height, width), round(float(pixel_size), 6), mode
        self._dtype = np.dtype(mode).newbyteorder("<")
        self._volume = volume
        self._labels = [_LABEL, label.encode("ascii")] if label else [_LABEL]
        self.count = 0
        self._minimum, self._maximum, self._sum, self._sum_squares = np.inf, -np.inf, 0.0, 0.0

    def __enter__(self) -> Self:
        self._replacing = replacing(self.path)
        temporary = self._replacing.__enter__()
        try:
            self._file = open(temporary, "wb")
            self._file.write(bytes(HEADER_BYTES))
        except OSError as error:
            self._leave(error)
            raise
        return self

    def append(self, image: NDArray[Any]) -> int:
        """Add one image and return its number in the stack, counted from 1."""
        if image.shape != self._shape:
            raise ValueError(f"{self.path}: image of shape {image.shape} in a stack of {self._shape}")
        stored = image if image.dtype == self._dtype else _convert(image, self._dtype, self.path)
        self._minimum = min(self._minimum, float(stored.min()))
        self._maximum = max(self._maximum, float(stored.max()))
        values = stored.astype(np.float64).ravel()
        self._sum += float(values.sum())
        self._sum_squares += float(np.einsum("i,i->", values, values))  # dot depends on the number of threads
        self._file.write(np.ascontiguousarray(stored).data)
        self.count += 1
        return self.count

    def _header(self) -> bytes:
        height, width = self._shape
        raw = bytearray(HEADER_BYTES)
        layers = self.count if self._volume else 1
        struct.pack_into("<10i", raw, 0, width, height, self.count, _MODE_NUMBERS[self._mode], 0, 0, 0, width, height, layers)
        cell = (width * self._pixel_size, height * self._pixel_size, layers * self._pixel_size)
        struct.pack_into("<6f3i", raw, 40, *cell, 90.0, 90.0, 90.0, 1, 2, 3)
        pixels = max(self.count * height * width, 1)
        mean = self._sum / pixels
        deviation = max(self._sum_squares / pixels - mean * mean, 0.0) ** 0.5
        low, high = (self._minimum, self._maximum) if self.count else (0.0, -1.0)
        struct.pack_into("<3fi", raw, 76, low, high, mean, int(self._volume))
        struct.pack_into("<i", raw, 108, 20141)
        raw[208:216] = b"MAP \x44\x44\x00\x00"
        struct.pack_into("<fi", raw, 216, deviation, len(self._labels))
        for number, label in enumerate(self._labels):
            raw[224 + 80 * number : 304 + 80 * number] = label[:80].ljust(80)
        return bytes(raw)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            try:
                self._file.seek(0)
                self._file.write(self._header())
                self._file.close()
            except OSError as failure:
                self._leave(failure)
                raise
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        if hasattr(self, "_file"):
            self._file.close()
        self._replacing.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)


def _convert(image: NDArray[Any], dtype: np.dtype[Any], path: Path) -> NDArray[Any]:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype.name)
        low, high = float(image.min()), float(image.max())
        if not (low >= limits.min and high <= limits.max):
            raise ValueError(f"{path}: values {low}..{high} do not fit {dtype.name} ({limits.min}..{limits.max})")
        if image.dtype.kind == "f":
            image = np.rint(image)
    return image.astype(dtype)
