"""TIFF movies and images, against the tifffile package as an independent reader and writer."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from magellon.errors import BadInput
from magellon.io.movie import open_movie
from magellon.io.movie_header import read_movie_header
from magellon.io.tiff import TiffFile
from magellon.io.tiff_header import read_tiff_header
from magellon.io.tiff_movie import write_tiff_movie

RNG = np.random.default_rng(2)
FRAMES = RNG.poisson(1.3, (4, 40, 56)).astype(np.uint8)


def write(path: Path, frames: np.ndarray, **options: Any) -> Path:
    with tifffile.TiffWriter(path, byteorder=options.pop("byteorder", "<"), bigtiff=options.pop("bigtiff", False)) as tiff:
        for frame in frames:
            tiff.write(frame, contiguous=False, metadata=None, **options)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd", "packbits"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_reads_what_tifffile_writes(tmp_path: Path, dtype: str, compression: str | None, byteorder: str) -> None:
    frames = (FRAMES * 3).astype(dtype)
    path = write(tmp_path / "a.tif", frames, compression=compression, byteorder=byteorder, rowsperstrip=7)
    with TiffFile(path) as tiff:
        for index, frame in enumerate(frames):
            found = tiff.read(index)
            assert found.dtype == np.dtype(dtype)
            assert found.dtype.isnative
            np.testing.assert_array_equal(found, frame)


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("rows", [1, 40])
def test_strips_predictors_and_big_files(tmp_path: Path, bigtiff: bool, rows: int) -> None:
    frames = FRAMES.astype(np.uint16) * 900
    path = write(tmp_path / "a.tif", frames, compression="lzw", predictor=True, bigtiff=bigtiff, rowsperstrip=rows)
    assert read_tiff_header(path).big_tiff is bigtiff
    with TiffFile(path) as tiff:
        np.testing.assert_array_equal(tiff.read(3), frames[3])


def test_movies_are_flipped_in_y(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", FRAMES, compression="lzw")
    with open_movie(path) as movie:
        assert (movie.format, movie.frames, movie.height, movie.width, len(movie)) == ("tiff", 4, 40, 56, 4)
        np.testing.assert_array_equal(movie.read(2), FRAMES[2, ::-1])
        np.testing.assert_array_equal(np.stack(list(movie)), FRAMES[:, ::-1])
        with pytest.raises(IndexError):
            movie.read(4)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_written_movies_come_back(tmp_path: Path, dtype: str) -> None:
    frames = FRAMES.astype(dtype)
    write_tiff_movie(tmp_path / "a.tiff", iter(frames), 0.885)
    write_tiff_movie(tmp_path / "b.tiff", iter(frames), 0.885)
    assert (tmp_path / "a.tiff").read_bytes() == (tmp_path / "b.tiff").read_bytes()
    assert b"ython" not in (tmp_path / "a.tiff").read_bytes(), "no trace of the writing program"
    with open_movie(tmp_path / "a.tiff") as movie:
        np.testing.assert_array_equal(np.stack(list(movie)), frames)
        assert movie.pixel_size == pytest.approx(0.885, abs=1e-6)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tiff"), frames[:, ::-1])
    header = read_movie_header(tmp_path / "a.tiff")
    assert (header.frames, header.height, header.width) == (4, 40, 56)
    with pytest.raises(ValueError, match="at least one frame"):
        write_tiff_movie(tmp_path / "c.tiff", [], 1.0)
    assert not (tmp_path / "c.tiff").exists()


def test_pixel_size_from_the_description(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", FRAMES, description="r/f 0 need 0\nPixel spacing = 0.82")
    assert open_movie(path).pixel_size == pytest.approx(0.82)
    path = write(tmp_path / "b.tif", FRAMES, resolution=(72, 72), resolutionunit="INCH")
    assert open_movie(path).pixel_size is None, "72 dpi says nothing about the specimen"


def pack_pairs(image: np.ndarray) -> np.ndarray:
    """Two 4-bit pixels a byte, the low half first."""
    return (image[:, 0::2] | (image[:, 1::2] << 4)).astype(np.uint8)


def test_frames_of_half_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magellon.io.tiff_header._HALF_WIDTHS", {(6, 10)})
    image = RNG.integers(0, 16, (10, 12), dtype=np.uint8)
    path = write(tmp_path / "a.tif", pack_pairs(image)[None], compression="lzw")
    with open_movie(path) as movie:
        assert (movie.height, movie.width) == image.shape
        np.testing.assert_array_equal(movie.read(0), image[::-1])
    assert read_movie_header(path).width == 12


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(8184, 5760), (7676, 3710)])
def test_super_resolution_frames_of_real_size(tmp_path: Path, shape: tuple[int, int]) -> None:
    image = np.zeros((shape[0], shape[1] * 2), dtype=np.uint8)
    image[100:104] = np.arange(shape[1] * 2) % 16
    path = write(tmp_path / "a.tif", pack_pairs(image)[None], compression="lzw")
    with open_movie(path) as movie:
        np.testing.assert_array_equal(movie.read(0), image[::-1])


def set_tag(path: Path, tag: int, value: int, pages: int | None = None) -> None:
    """Overwrite a number of the first (or the first few) directories of a small little-endian file."""
    raw = bytearray(path.read_bytes())
    offset, done = struct.unpack_from("<I", raw, 4)[0], 0
    while offset and (pages is None or done < pages):
        count = struct.unpack_from("<H", raw, offset)[0]
        for entry in range(offset + 2, offset + 2 + 12 * count, 12):
            if struct.unpack_from("<H", raw, entry)[0] == tag:
                struct.pack_into("<I", raw, entry + 8, value)
        offset, done = struct.unpack_from("<I", raw, offset + 2 + 12 * count)[0], done + 1
    path.write_bytes(raw)


def test_four_bit_pages(tmp_path: Path) -> None:
    image = RNG.integers(0, 16, (6, 10), dtype=np.uint8)
    path = write(tmp_path / "a.tif", pack_pairs(image)[None])
    set_tag(path, 256, 10)
    set_tag(path, 258, 4)
    with TiffFile(path) as tiff:
        np.testing.assert_array_equal(tiff.read(0), image)


def test_compressed_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", FRAMES, compression="lzw")
    (tmp_path / "a.tif.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert read_movie_header(tmp_path / "a.tif.gz").frames == 4
    with open_movie(tmp_path / "a.tif.gz") as movie:
        np.testing.assert_array_equal(movie.read(1), FRAMES[1, ::-1])


def test_truncated_and_damaged_files(tmp_path: Path) -> None:
    path = write(tmp_path / "movie.tif", FRAMES, compression="lzw")
    whole = path.read_bytes()
    for size in (0, 3, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"movie\.tif"):
            open_movie(path)
        with pytest.raises(BadInput, match=r"movie\.tif"):
            read_movie_header(path)
    header = read_tiff_header(write(path, FRAMES, compression="lzw"))
    damaged = bytearray(whole)
    start, length = header.pages[2].strip_offsets[0], header.pages[2].strip_bytes[0]
    damaged[start : start + length] = bytes(length)
    path.write_bytes(damaged)
    with open_movie(path) as movie:
        assert movie.read(1).shape == (40, 56)
        with pytest.raises(BadInput, match=r"movie\.tif: page 3: damaged LZW data"):
            movie.read(2)


def test_pages_of_different_size_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tiff:
        tiff.write(FRAMES[0], contiguous=False, metadata=None)
        tiff.write(FRAMES[0, :30], contiguous=False, metadata=None)
    with pytest.raises(BadInput, match="page 2 is 56 x 30 of 8 bits, the first is 56 x 40"):
        open_movie(path)
    with pytest.raises(BadInput, match="page 2 is 56 x 30"):
        read_movie_header(path)


def test_a_chain_of_pages_that_bites_its_tail(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", FRAMES[:1])
    raw = bytearray(path.read_bytes())
    offset = struct.unpack_from("<I", raw, 4)[0]
    count = struct.unpack_from("<H", raw, offset)[0]
    struct.pack_into("<I", raw, offset + 2 + 12 * count, offset)
    path.write_bytes(raw)
    with pytest.raises(BadInput, match="points back"):
        open_movie(path)


@pytest.mark.parametrize(
    ("tag", "value", "words"),
    [
        (256, 0, "makes no sense"),
        (258, 7, "7 bits"),
        (259, 34712, "compression 34712"),
        (277, 3, "samples"),
        (278, 3, "strips"),
    ],
)
def test_kinds_of_images_no_detector_writes(tmp_path: Path, tag: int, value: int, words: str) -> None:
    path = write(tmp_path / "a.tif", FRAMES[:1])
    set_tag(path, tag, value)
    with pytest.raises(BadInput, match=words):
        open_movie(path)


def test_an_absurd_size_is_not_allocated(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", FRAMES[:1])
    for tag in (256, 257, 278):
        set_tag(path, tag, 1 << 20)
    with pytest.raises(BadInput, match="1048576 x 1048576 pixels, more than"):
        open_movie(path)


def test_nan_in_a_frame_is_named(tmp_path: Path) -> None:
    frames = FRAMES.astype(np.float32)
    frames[2, 3, 4] = np.nan
    path = write(tmp_path / "a.tif", frames)
    with open_movie(path) as movie, pytest.raises(BadInput, match=r"a\.tif: frame 3: 1 of 2240 pixels"):
        list(movie)


def test_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not a movie"):
        open_movie(tmp_path / "a.txt")
