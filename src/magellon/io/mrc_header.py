"""The header of an MRC file (MRC2014, and its older and IMOD's dialects), read without numpy.

Source: Cheng et al. 2015, J. Struct. Biol. 192, 146 (MRC2014); the IMOD manual for modes 0 and 101.
"""

import struct
from dataclasses import dataclass, replace
from pathlib import Path

from magellon.errors import BadInput
from magellon.io.fei_header import FeiMetadata, parse_fei_metadata
from magellon.io.files import is_compressed, open_binary, reading

HEADER_BYTES = 1024
_IMOD_STAMP = 1146047817
_HALF_WIDTH_FLAG = 16
_MAX_DIMENSION = 1 << 24

MODE_BITS = {0: 8, 1: 16, 2: 32, 6: 16, 12: 16, 101: 4}
"""Bits of one pixel of the modes that hold real numbers."""


@dataclass(frozen=True)
class MrcHeader:
    """What an MRC file says of itself."""

    width: int
    height: int
    sections: int
    """Images of a stack, frames of a movie, or slices of a volume."""
    mode: int
    little_endian: bool
    signed_bytes: bool
    """Whether mode 0 holds -128..127 (the standard) or 0..255 (older IMOD and SerialEM files)."""
    pixel_size: float | None
    """Å/px along x; None when the header says 0 or less."""
    pixel_size_z: float | None
    space_group: int
    data_offset: int
    """Bytes before the first pixel: the header and the extended header."""
    extended_type: str
    """Such as FEI1, FEI2, SERI, CCP4; empty when not said."""
    statistics: tuple[float, float, float]
    """(minimum, maximum, mean) as the header claims; not checked."""
    labels: tuple[str, ...]
    map_stamp: bool
    """Whether the file carries the MAP stamp (files from before 2000 do not)."""
    metadata: FeiMetadata | None = None
    """Microscope settings of the first image, from an FEI extended header."""

    packed: bool = False
    """Whether two 4-bit pixels share a byte: mode 101, or IMOD's mode 0 with a flag; `width` counts pixels."""

    @property
    def row_bytes(self) -> int:
        return (self.width * (4 if self.packed else MODE_BITS[self.mode]) + 7) // 8

    @property
    def section_bytes(self) -> int:
        return self.row_bytes * self.height

    @property
    def data_bytes(self) -> int:
        return self.section_bytes * self.sections


def read_mrc_header(path: Path | str) -> MrcHeader:
    """Read and check the header of an MRC file; of a file that is not compressed also whether its size fits.

    Raises:
        BadInput: not an MRC file, a mode that holds no real numbers, dimensions that make no sense, or fewer bytes, or a whole
            section more of them, than the header says.
    """
    with reading(path):
        with open_binary(path) as file:
            raw = file.read(HEADER_BYTES)
            header = _parse(raw, path)
            if header.data_offset > HEADER_BYTES and header.extended_type.startswith("FEI"):
                extended = file.read(min(header.data_offset - HEADER_BYTES, 4096))
                header = _with_metadata(header, extended)
        if not is_compressed(path):
            _check_size(header, Path(path).stat().st_size, path)
    return header


def _parse(raw: bytes, path: Path | str) -> MrcHeader:
    if len(raw) < HEADER_BYTES:
        what = "is empty" if not raw else f"is truncated: {len(raw)} bytes found"
        raise BadInput(f"{path}: {what}, an MRC header has {HEADER_BYTES}")
    order = _find_byte_order(raw, path)
    width, height, sections, mode = struct.unpack_from(order + "4i", raw, 0)
    mx, _, mz = struct.unpack_from(order + "3i", raw, 28)
    cell_x, _, cell_z = struct.unpack_from(order + "3f", raw, 40)
    space_group, extended_bytes = struct.unpack_from(order + "2i", raw, 88)
    stamp, flags = struct.unpack_from(order + "2i", raw, 152)
    flags = flags if stamp == _IMOD_STAMP else 1
    half_width = mode == 0 and bool(flags & _HALF_WIDTH_FLAG)
    if half_width:
        if mx == width:
            mx, cell_x = mx * 2, cell_x * 2
        width *= 2
    map_stamp = raw[208:211] == b"MAP"
    if not map_stamp:
        space_group = max(space_group, 0)
    if extended_bytes < 0:
        raise BadInput(f"{path}: the MRC header says {extended_bytes} bytes of extended header")
    labels = [raw[224 + 80 * i : 304 + 80 * i] for i in range(10)]
    texts = (label.split(b"\0")[0].decode("ascii", "replace").strip() for label in labels)
    extended_type = raw[104:108].decode("ascii", "replace").strip("\0 ") if map_stamp else ""
    minimum, maximum, mean = struct.unpack_from(order + "3f", raw, 76)
    return MrcHeader(
        width=width,
        height=height,
        sections=sections,
        mode=mode,
        little_endian=order == "<",
        signed_bytes=bool(flags & 1),
        pixel_size=_step(cell_x, mx, width),
        pixel_size_z=_step(cell_z, mz, sections),
        space_group=space_group,
        data_offset=HEADER_BYTES + extended_bytes,
        extended_type=extended_type if extended_type.isprintable() else "",
        statistics=(minimum, maximum, mean),
        labels=tuple(text for text in texts if text),
        map_stamp=map_stamp,
        packed=half_width or mode == 101,
    )


def _step(cell: float, intervals: int, size: int) -> float | None:
    intervals = intervals if intervals > 0 else size
    step = cell / intervals
    return step if 0 < step < 1e6 else None


def _find_byte_order(raw: bytes, path: Path | str) -> str:
    """Machine stamps are often wrong: the order is the one in which dimensions and mode make sense."""
    little = _judge_order(raw, "<")
    big = _judge_order(raw, ">")
    if little is None:
        return "<"
    if big is None:
        return ">"
    stamped_big = raw[212:214] == b"\x11\x11"
    raise BadInput(f"{path}: not an MRC file: {big if stamped_big else little}")


def _judge_order(raw: bytes, order: str) -> str | None:
    """What is wrong with the header read in this byte order; None when nothing is."""
    width, height, sections, mode = struct.unpack_from(order + "4i", raw, 0)
    for name, value in (("nx", width), ("ny", height), ("nz", sections)):
        if not 0 < value <= _MAX_DIMENSION:
            return f"{name} is {value}, which is not within 1..{_MAX_DIMENSION}"
    if mode not in MODE_BITS:
        return f"mode {mode} is none of {', '.join(map(str, MODE_BITS))}"
    return None


def _with_metadata(header: MrcHeader, extended: bytes) -> MrcHeader:
    metadata = parse_fei_metadata(extended, header.little_endian)
    if metadata is None:
        return header
    pixel_size = header.pixel_size or metadata.pixel_size
    return replace(header, metadata=metadata, pixel_size=pixel_size)


def _check_size(header: MrcHeader, found: int, path: Path | str) -> None:
    expected = header.data_offset + header.data_bytes
    shape = f"{header.sections} x {header.height} x {header.width} pixels of mode {header.mode}"
    if found < expected:
        raise BadInput(f"{path}: truncated: {found} bytes found, {expected} expected for {shape}")
    if found - expected >= header.section_bytes:
        raise BadInput(f"{path}: inconsistent: {found} bytes found, {expected} expected for {shape}")
