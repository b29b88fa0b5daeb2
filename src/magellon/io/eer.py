"""EER movies: the single electron events of Falcon 4 detectors, rendered in groups of raw frames.

Source: Guo et al. 2020, IUCrJ 7, 860; `magellon.io.eer_encoder` describes the coding.
"""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.eer_header import EerCoding, read_eer_header
from magellon.io.movie_reader import MovieReader
from magellon.io.source import ByteSource


class EerMovie(MovieReader):
    """An EER movie; a frame is the sum of `grouping` raw frames, rows as in the file. A remainder at the end is dropped."""

    format = "eer"

    def __init__(self, path: Path | str, *, upsampling: int = 1, grouping: int = 1) -> None:
        """
        Args:
            upsampling: 1 renders at the detector's pixels, 2 and 4 with sub-pixels, at so many times the size.
            grouping: raw frames per frame.

        Raises:
            BadInput: damaged, not EER, or fewer raw frames than one group.
        """
        super().__init__(path)
        if upsampling not in (1, 2, 4):
            raise BadInput(f"{path}: EER upsampling {upsampling} is none of 1, 2, 4")
        if grouping < 1:
            raise BadInput(f"{path}: EER grouping {grouping} is not positive")
        header = read_eer_header(path)
        self._pages, self._coding = header.pages, header.coding
        self.raw_frames = len(header.pages)
        """Frames stored in the file."""
        self.grouping, self.upsampling = grouping, upsampling
        self.frames = self.raw_frames // grouping
        if self.frames == 0:
            raise BadInput(f"{path}: {self.raw_frames} raw frames found, fewer than one group of {grouping}")
        self.height, self.width = header.height * upsampling, header.width * upsampling
        self.metadata = header.metadata
        """Items of the acquisition metadata by name, as text."""
        self.pixel_size = None if header.pixel_size is None else header.pixel_size / upsampling
        self._source = ByteSource(path)

    def read(self, index: int) -> NDArray[Any]:
        """Render one group: uint8, or uint16 when more than 255 raw frames are summed."""
        self._check_index(index)
        image = np.zeros((self.height, self.width), dtype=np.uint8 if self.grouping <= 255 else np.uint16)
        for number in range(index * self.grouping, (index + 1) * self.grouping):
            self._add_raw_frame(number, image)
        return image

    def _add_raw_frame(self, number: int, image: NDArray[Any]) -> None:
        page = self._pages[number]
        where = f"{self.path}: raw frame {number + 1}"
        data = b"".join(self._source.read(*strip) for strip in zip(page.strip_offsets, page.strip_bytes, strict=True))
        if len(data) < sum(page.strip_bytes):
            raise BadInput(f"{where}: truncated: {len(data)} bytes found, {sum(page.strip_bytes)} expected")
        add_events(data, image, (page.height, page.width), self._coding, where)

    def close(self) -> None:
        self._source.close()


def add_events(data: bytes, image: NDArray[Any], shape: tuple[int, int], coding: EerCoding, where: str) -> None:
    """Add the events of one raw frame to an image.

    Args:
        image: uint8 or uint16, (height, width) or two or four times that.
        shape: (height, width) of the detector.
        where: for the message of an error.

    Raises:
        BadInput: the data end before the last pixel, or run past it.
    """
    if coding.compression == 65000:
        _add_whole_symbols(data, image, shape, where)
        return
    # What follows the data is read as full runs, so that a stream cut short runs past the last pixel and is noticed.
    rest = shape[0] * shape[1] // coding.full_run * coding.run_bits // 8 + 16
    padded = data + b"\xff" * (rest + (rest + len(data)) % 2)
    superres = (image.shape[0] // shape[0]).bit_length() - 1
    try:
        imagecodecs.eer_decode(padded, image.shape, coding.run_bits, coding.x_bits, coding.y_bits, superres=superres, out=image)
    except (RuntimeError, ValueError) as error:
        raise _not_at_end(where, shape) from error


def _add_whole_symbols(data: bytes, image: NDArray[Any], shape: tuple[int, int], where: str) -> None:
    """8-bit runs: every symbol has 12 bits, also a full run, whose sub-pixel bits mean nothing (imagecodecs differs)."""
    width, pixels = shape[1], shape[0] * shape[1]
    raw = np.frombuffer(data, dtype=np.uint8)
    raw = np.pad(raw, (0, -len(raw) % 3)).reshape(-1, 3)
    runs, symbols = np.empty(2 * len(raw), dtype=np.uint8), np.empty(2 * len(raw), dtype=np.uint8)
    runs[0::2], runs[1::2] = raw[:, 0], (raw[:, 1] >> 4) | (raw[:, 2] << 4)
    symbols[0::2], symbols[1::2] = raw[:, 1] & 15, raw[:, 2] >> 4
    is_event = runs < 255
    positions = np.cumsum(runs, dtype=np.int64)
    positions[1:] += np.cumsum(is_event, dtype=np.int64)[:-1]
    end = int(np.searchsorted(positions, pixels))
    if end == len(positions) or positions[end] != pixels:
        raise _not_at_end(where, shape)
    kept = np.flatnonzero(is_event[:end])
    position, symbol = positions[kept], (symbols[kept] ^ 0b1010).astype(np.int64)
    factor = image.shape[0] // shape[0]
    y = (position // width) * factor + (symbol >> 2) * factor // 4
    x = (position % width) * factor + (symbol & 3) * factor // 4
    image.reshape(-1)[y * image.shape[1] + x] += 1  # one event per pixel and raw frame: no index stands twice


def _not_at_end(where: str, shape: tuple[int, int]) -> BadInput:
    return BadInput(f"{where}: damaged or truncated: its events do not end at the last of {shape[0]} x {shape[1]} pixels")
