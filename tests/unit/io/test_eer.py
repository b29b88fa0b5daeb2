"""EER movies: our encoder and decoder against each other and against a decoder written out bit by bit."""

import struct
from pathlib import Path

import numpy as np
import pytest

from magellon.errors import BadInput
from magellon.io.eer import EerMovie, add_events
from magellon.io.eer_encoder import encode_events, write_eer
from magellon.io.eer_header import CODINGS, EerCoding, read_eer_header
from magellon.io.movie import open_movie

SHAPE = (64, 96)


def make_events(count: int, seed: int = 0, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Events in quarter pixels, at most one in a pixel."""
    rng = np.random.default_rng(seed)
    pixels = rng.choice(shape[0] * shape[1], count, replace=False)
    return np.stack(
        [pixels // shape[1] * 4 + rng.integers(0, 4, count), pixels % shape[1] * 4 + rng.integers(0, 4, count)], axis=1
    )


def render(events: np.ndarray, upsampling: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    image = np.zeros((shape[0] * upsampling, shape[1] * upsampling), dtype=int)
    np.add.at(image, (events[:, 0] * upsampling // 4, events[:, 1] * upsampling // 4), 1)
    return image


def decode_bits(data: bytes, coding: EerCoding, pixels: int) -> list[tuple[int, int]]:
    """(pixel, symbol) of each event, read bit by bit as the format is described."""
    stream = int.from_bytes(data, "little")
    at = position = 0
    found = []
    while True:
        run = stream >> at & (1 << coding.run_bits) - 1
        position += run
        if position >= pixels:
            assert position == pixels
            return found
        at += coding.run_bits
        if run == coding.full_run:
            at += 4 if coding.compression == 65000 else 0
            continue
        found.append((position, (stream >> at & 15) ^ 0b1010))
        at += 4
        position += 1


@pytest.mark.parametrize("compression", [65000, 65001, 65002])
@pytest.mark.parametrize("count", [0, 1, 20, 900, SHAPE[0] * SHAPE[1]])
def test_coding_is_the_described_one(compression: int, count: int) -> None:
    events = make_events(count)
    coding = CODINGS[compression]
    found = decode_bits(encode_events(events, SHAPE, coding), coding, SHAPE[0] * SHAPE[1])
    order = np.argsort((events[:, 0] >> 2) * SHAPE[1] + (events[:, 1] >> 2))
    y, x = events[order].T
    expected = zip((y >> 2) * SHAPE[1] + (x >> 2), (y & 3) * 4 + (x & 3), strict=True)
    assert found == [(int(pixel), int(symbol)) for pixel, symbol in expected]


@pytest.mark.parametrize("compression", [65000, 65001, 65002])
@pytest.mark.parametrize("upsampling", [1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 20, 900, SHAPE[0] * SHAPE[1]])
def test_events_come_back_exactly(compression: int, upsampling: int, count: int) -> None:
    events = make_events(count)
    image = np.zeros((SHAPE[0] * upsampling, SHAPE[1] * upsampling), dtype=np.uint8)
    add_events(encode_events(events, SHAPE, CODINGS[compression]), image, SHAPE, CODINGS[compression], "here")
    np.testing.assert_array_equal(image, render(events, upsampling))


@pytest.mark.parametrize("rest", [0, 1, 126, 127, 128, 254, 255, 256, 510])
@pytest.mark.parametrize("compression", [65000, 65001, 65002])
def test_every_length_of_the_last_run(compression: int, rest: int) -> None:
    last = SHAPE[0] * SHAPE[1] - 1 - rest
    events = np.array([[last // SHAPE[1] * 4, last % SHAPE[1] * 4]])
    image = np.zeros(SHAPE, dtype=np.uint8)
    add_events(encode_events(events, SHAPE, CODINGS[compression]), image, SHAPE, CODINGS[compression], "here")
    assert np.flatnonzero(image).tolist() == [last]


@pytest.mark.parametrize("compression", [65000, 65001, 65002])
def test_a_stream_cut_short_is_noticed(compression: int) -> None:
    data = encode_events(make_events(500), SHAPE, CODINGS[compression])
    image = np.zeros(SHAPE, dtype=np.uint8)
    for size in (0, 10, len(data) // 2, len(data) - 3):
        with pytest.raises(BadInput, match="here: damaged or truncated"):
            add_events(data[:size], image.copy(), SHAPE, CODINGS[compression], "here")


@pytest.mark.parametrize("compression", [65000, 65001, 65002])
def test_movie_in_groups(tmp_path: Path, compression: int) -> None:
    path = tmp_path / "a.eer"
    frames = [make_events(100 + 10 * index, index) for index in range(11)]
    assert write_eer(path, iter(frames), SHAPE, pixel_size=0.95, exposure_per_frame=0.04, compression=compression) == 11
    with open_movie(path, eer_upsampling=2, eer_grouping=4) as movie:
        assert (movie.format, movie.frames, movie.height, movie.width) == ("eer", 2, 128, 192)
        assert movie.pixel_size == pytest.approx(0.475)
        np.testing.assert_array_equal(movie.read(1), sum(render(events, 2) for events in frames[4:8]))
        assert movie.read(0).dtype == np.uint8
    header = read_eer_header(path)
    assert (len(header.pages), header.pixel_size) == (11, pytest.approx(0.95))
    assert header.metadata["sensorPixelSize.width"] == "9.500000e-11"
    with open_movie(path) as movie:
        assert movie.frames == 11
        np.testing.assert_array_equal(movie.read(10), render(frames[10], 1))
    write_eer(tmp_path / "b.eer", iter(frames), SHAPE, pixel_size=0.95, exposure_per_frame=0.04, compression=compression)
    assert (tmp_path / "b.eer").read_bytes() == path.read_bytes()


def test_many_raw_frames_do_not_overflow(tmp_path: Path) -> None:
    hot = np.array([[40, 40]])
    write_eer(tmp_path / "a.eer", [hot] * 300, SHAPE)
    with EerMovie(tmp_path / "a.eer", grouping=300) as movie:
        assert movie.read(0)[10, 10] == 300
    with EerMovie(tmp_path / "a.eer", grouping=255) as movie:
        assert movie.read(0)[10, 10] == 255


def test_two_events_in_a_pixel_count_once() -> None:
    events = np.array([[41, 43], [40, 40], [43, 41], [400 // 2, 44]])
    image = np.zeros(SHAPE, dtype=np.uint8)
    add_events(encode_events(events, SHAPE, CODINGS[65001]), image, SHAPE, CODINGS[65001], "here")
    assert image.sum() == 2


def test_wrong_arguments(tmp_path: Path) -> None:
    path = tmp_path / "a.eer"
    with pytest.raises(ValueError, match="outside"):
        write_eer(path, [np.array([[0, 4 * SHAPE[1]]])], SHAPE)
    with pytest.raises(ValueError, match="65003"):
        write_eer(path, [], SHAPE, compression=65003)
    with pytest.raises(ValueError, match="at least one"):
        write_eer(path, [], SHAPE)
    assert not path.exists()
    write_eer(path, [make_events(3)] * 3, SHAPE)
    with pytest.raises(BadInput, match="3 raw frames found, fewer than one group of 4"):
        open_movie(path, eer_grouping=4)
    with pytest.raises(BadInput, match="upsampling 3"):
        open_movie(path, eer_upsampling=3)
    with pytest.raises(BadInput, match="grouping -1"):
        open_movie(path, eer_grouping=-1)


def test_truncated_and_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "movie.eer"
    write_eer(path, [make_events(100)] * 5, SHAPE)
    whole = path.read_bytes()
    for size in (0, 10, 200, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"movie\.eer"):
            open_movie(path)
    damaged = bytearray(whole)
    page = read_eer_header_of(whole, path).pages[3]
    damaged[page.strip_offsets[0] : page.strip_offsets[0] + 8] = bytes(8)
    path.write_bytes(damaged)
    with open_movie(path) as movie, pytest.raises(BadInput, match=r"movie\.eer: raw frame 4: damaged"):
        list(movie)


def read_eer_header_of(content: bytes, path: Path):  # type: ignore[no-untyped-def]
    path.write_bytes(content)
    return read_eer_header(path)


def set_first_tag(path: Path, tag: int, value: int) -> None:
    """Overwrite a number of the first directory."""
    raw = bytearray(path.read_bytes())
    offset = struct.unpack_from("<Q", raw, 8)[0]
    for entry in range(offset + 8, offset + 8 + 20 * struct.unpack_from("<Q", raw, offset)[0], 20):
        if struct.unpack_from("<H", raw, entry)[0] == tag:
            struct.pack_into("<Q", raw, entry + 12, value)
    path.write_bytes(raw)


def test_a_first_page_that_is_a_picture_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.eer"
    frames = [make_events(50, index) for index in range(3)]
    write_eer(path, frames, SHAPE, pixel_size=0.95)
    set_first_tag(path, 259, 1)
    with open_movie(path) as movie:
        assert (movie.frames, movie.pixel_size) == (2, pytest.approx(0.95))
        np.testing.assert_array_equal(movie.read(0), render(frames[1], 1))


def test_codes_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.eer"
    write_eer(path, [make_events(50)], SHAPE, compression=65002)
    set_first_tag(path, 65007, 3)
    with pytest.raises(BadInput, match="3 run bits"):
        open_movie(path)
    write_eer(path, [make_events(50)], SHAPE)
    set_first_tag(path, 259, 5)
    with pytest.raises(BadInput, match="not an EER movie: compression 5"):
        open_movie(path)
