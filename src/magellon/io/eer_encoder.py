"""Writing EER movies: electron events as run lengths and sub-pixel positions in a BigTIFF file.

Source: Guo et al. 2020, IUCrJ 7, 860; Thermo Fisher Scientific's public description of the format. A frame is a stream of
codes, least significant bit first: the number of empty pixels before the next event, then that event's sub-pixel position.
"""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magellon.io.eer_header import CODINGS, EerCoding
from magellon.io.files import replacing

SUB_PIXELS = 4
"""Positions within a pixel along each axis."""


def encode_events(events: NDArray[np.integer[Any]], shape: tuple[int, int], coding: EerCoding) -> bytes:
    """Code the events of one raw frame.

    Args:
        events: (n, 2), (y, x) in quarters of a pixel, 0..4 * size - 1, in any order. Of several in one pixel only the first
            by position is kept, as the detector sees one event per pixel and frame.
        shape: (height, width) of the detector.

    Raises:
        ValueError: events outside the detector.
    """
    height, width = shape
    y, x = events[:, 0].astype(np.int64), events[:, 1].astype(np.int64)
    if events.size and (y.min() < 0 or x.min() < 0 or y.max() >= SUB_PIXELS * height or x.max() >= SUB_PIXELS * width):
        raise ValueError(f"events outside a detector of {height} x {width} pixels")
    keys = ((y >> 2) * width + (x >> 2)) * 16 + (y & 3) * 4 + (x & 3)
    keys = np.sort(keys)
    pixels = keys >> 4
    kept = np.ones(len(keys), dtype=bool)
    kept[1:] = pixels[1:] != pixels[:-1]
    pixels, symbols = pixels[kept], _code_sub_pixels(keys[kept] & 15, coding)
    gaps = np.diff(pixels, prepend=-1) - 1
    return _pack(gaps, symbols, height * width - 1 - (int(pixels[-1]) if len(pixels) else -1), coding)


def _code_sub_pixels(position: NDArray[np.int64], coding: EerCoding) -> NDArray[np.int64]:
    """Positions 4 y + x to stored bits: x low, y high, each with its highest bit inverted."""
    x = ((position & 3) >> (2 - coding.x_bits)) ^ (1 << (coding.x_bits - 1))
    y = ((position >> 2) >> (2 - coding.y_bits)) ^ (1 << (coding.y_bits - 1))
    return x | (y << coding.x_bits)


def _pack(gaps: NDArray[np.int64], symbols: NDArray[np.int64], rest: int, coding: EerCoding) -> bytes:
    """Bits of all codes; `rest` is the number of empty pixels after the last event."""
    full = coding.full_run
    runs, last = np.append(gaps // full, rest // full), np.append(gaps % full, rest % full)
    ends = np.cumsum(runs + 1) - 1
    total = int(ends[-1]) + 1
    codes = np.full(total, full, dtype=np.uint16)
    codes[ends] = last
    codes[ends[:-1]] |= (symbols << coding.run_bits).astype(np.uint16)
    widths = np.full(total, coding.full_run_bits, dtype=np.uint8)
    code_bits = coding.run_bits + coding.x_bits + coding.y_bits
    widths[ends] = code_bits
    if rest and rest % full == 0:  # the last full run has already reached the end of the frame
        codes, widths = codes[:-1], widths[:-1]
    bits = np.unpackbits(codes.astype("<u2").view(np.uint8).reshape(-1, 2), axis=1, bitorder="little")[:, :code_bits]
    stream = bits[np.arange(code_bits, dtype=np.uint8) < widths[:, None]]
    return np.packbits(stream, bitorder="little").tobytes()


def write_eer(
    path: Path | str,
    frames: Iterable[NDArray[np.integer[Any]]],
    shape: tuple[int, int] = (4096, 4096),
    *,
    pixel_size: float | None = None,
    exposure_per_frame: float | None = None,
    compression: int = 65001,
) -> int:
    """Write an EER movie frame by frame.

    Args:
        frames: the events of each raw frame, see `encode_events`.
        shape: (height, width) of the detector; RELION reads (4096, 4096) only.
        pixel_size: Å, kept in the metadata.
        exposure_per_frame: e/Å², kept in the metadata.
        compression: 65000 (8-bit runs), 65001 (7-bit runs) or 65002 (sizes in tags).

    Returns:
        The number of raw frames.

    Raises:
        ValueError: no frame, events outside, or another compression.
        Transient: the disk is full.
    """
    if compression not in CODINGS:
        raise ValueError(f"EER compression {compression} is none of {', '.join(map(str, CODINGS))}")
    coding = CODINGS[compression]
    metadata = _format_metadata(pixel_size, exposure_per_frame)
    count = 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, 0))
        link = 8  # where the offset of the next directory is to be written
        for events in frames:
            data = encode_events(events, shape, coding)
            start = file.tell()
            file.write(data + bytes(-len(data) % 8))
            text = metadata if count == 0 else b""
            text_offset = file.tell()
            file.write(text + bytes(-len(text) % 8))
            directory = file.tell()
            file.write(_format_directory(shape, coding, (start, len(data)), (text_offset, len(text))))
            end = file.tell()
            file.seek(link)
            file.write(struct.pack("<Q", directory))
            file.seek(end)
            link = end - 8
            count += 1
        if count == 0:
            raise ValueError(f"{path}: a movie needs at least one frame")
    return count


def _format_directory(shape: tuple[int, int], coding: EerCoding, data: tuple[int, int], text: tuple[int, int]) -> bytes:
    """A BigTIFF directory of one strip; its last eight bytes are the link to the next."""
    height, width = shape
    short, long8, ascii_ = 3, 16, 7
    entries = [
        (256, short, 1, width), (257, short, 1, height), (258, short, 1, 1), (259, short, 1, coding.compression),
        (262, short, 1, 1), (273, long8, 1, data[0]), (277, short, 1, 1), (278, short, 1, height), (279, long8, 1, data[1]),
    ]  # fmt: skip
    if text[1]:
        entries.append((65001, ascii_, text[1], text[0]))
    if coding.compression == 65002:
        entries += [(65007, short, 1, coding.run_bits), (65008, short, 1, coding.x_bits), (65009, short, 1, coding.y_bits)]
    packed = b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
    return struct.pack("<Q", len(entries)) + packed + bytes(8)


def _format_metadata(pixel_size: float | None, exposure_per_frame: float | None) -> bytes:
    items = ""
    if pixel_size is not None:
        metres = f"{pixel_size * 1e-10:.6e}"
        items += f'<item name="sensorPixelSize.height" unit="m">{metres}</item>'
        items += f'<item name="sensorPixelSize.width" unit="m">{metres}</item>'
    if exposure_per_frame is not None:
        items += f'<item name="magellon.exposurePerFrame" unit="e/A^2">{exposure_per_frame:.6f}</item>'
    return f"<metadata>{items}</metadata>".encode()
