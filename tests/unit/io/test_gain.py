"""Gain references in every format and orientation, and defects."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from magellon.errors import BadInput
from magellon.io.defects import read_defects, write_defects
from magellon.io.dm4 import read_dm4
from magellon.io.gain import Flip, read_gain
from magellon.io.mrc import write_mrc

GAIN = np.random.default_rng(3).uniform(0.8, 1.2, (6, 4)).astype(np.float32)
SIMPLE_CODES = {"int16": 2, "int32": 3, "uint16": 4, "uint32": 5, "float32": 6, "float64": 7, "uint8": 8, "int8": 9}
DATA_TYPES = {"int16": 1, "float32": 2, "uint8": 6, "int32": 7, "int8": 9, "uint16": 10, "uint32": 11, "float64": 12}


def write_dm(path: Path, image: np.ndarray, version: int = 4) -> None:
    """A DigitalMicrograph file with a thumbnail, a structure, a string and the image, as the format is described."""
    long = ">q" if version == 4 else ">i"

    def tag(kind: int, name: str, body: bytes) -> bytes:
        head = struct.pack(">BH", kind, len(name)) + name.encode()
        return head + (struct.pack(">q", len(body)) if version == 4 else b"") + body

    def group(*tags: bytes) -> bytes:
        return b"\1\0" + struct.pack(long, len(tags)) + b"".join(tags)

    def data(codes: list[int], raw: bytes) -> bytes:
        return b"%%%%" + struct.pack(long, len(codes)) + b"".join(struct.pack(long, code) for code in codes) + raw

    def number(name: str, value: int) -> bytes:
        return tag(21, name, data([5], struct.pack("<I", value)))

    def entry(pixels: np.ndarray) -> bytes:
        array = data([20, SIMPLE_CODES[pixels.dtype.name], pixels.size], pixels.tobytes())
        sizes = group(*(number("", side) for side in reversed(pixels.shape)))
        kind = number("DataType", DATA_TYPES[pixels.dtype.name])
        return tag(20, "", group(tag(20, "ImageData", group(tag(21, "Data", array), kind, tag(20, "Dimensions", sizes)))))

    structure = tag(21, "Rectangle", data([15, 0, 2, 0, 2, 0, 6], struct.pack("<hf", 1, 2.0)))
    text = tag(21, "Name", data([20, 4, 3], "abc".encode("utf-16-le")))
    images = tag(20, "ImageList", group(entry(np.zeros((2, 2), dtype=np.uint8)), entry(image)))
    body = group(structure, text, images)
    path.write_bytes(struct.pack(">i", version) + struct.pack(long, len(body)) + struct.pack(">i", 1) + body + bytes(8))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["none", "x", "y"])
def test_rotation_comes_before_the_flip(tmp_path: Path, rotation: int, flip: Flip) -> None:
    write_mrc(tmp_path / "gain.mrc", GAIN, 1.0)
    turned = np.rot90(GAIN, rotation // 90)
    expected = {"none": turned, "x": np.fliplr(turned), "y": np.flipud(turned)}[flip]
    found = read_gain(tmp_path / "gain.mrc", movie_format="mrc", shape=expected.shape, rotation=rotation, flip=flip)
    np.testing.assert_array_equal(found, expected)
    assert found.flags.c_contiguous


def test_rotation_is_counter_clockwise_with_row_0_on_top(tmp_path: Path) -> None:
    corner = np.ones((3, 5), dtype=np.float32)
    corner[0, 0] = 2  # top left turns to bottom left
    write_mrc(tmp_path / "gain.mrc", corner, 1.0)
    assert read_gain(tmp_path / "gain.mrc", movie_format="mrc", shape=(5, 3), rotation=90)[4, 0] == 2


@pytest.mark.parametrize("movie_format", ["mrc", "tiff"])
def test_rows_and_operation(tmp_path: Path, movie_format: str) -> None:
    write_mrc(tmp_path / "gain.mrc", GAIN, 1.0)
    tifffile.imwrite(tmp_path / "gain.tif", GAIN)
    tifffile.imwrite(tmp_path / "gain.gain", GAIN)
    write_dm(tmp_path / "gain.dm4", GAIN)

    def read(name: str) -> np.ndarray:
        return read_gain(tmp_path / name, movie_format=movie_format, shape=(6, 4))  # type: ignore[arg-type]

    np.testing.assert_array_equal(read("gain.mrc"), GAIN)
    np.testing.assert_array_equal(read("gain.tif"), GAIN[::-1])
    np.testing.assert_array_equal(read("gain.dm4"), GAIN[::-1])
    np.testing.assert_array_equal(read("gain.gain"), GAIN)


def test_gains_of_eer_movies(tmp_path: Path) -> None:
    image = GAIN.copy()
    image[2, 1] = 0
    write_mrc(tmp_path / "gain.mrc", image, 1.0)
    tifffile.imwrite(tmp_path / "gain.tif", image)
    tifffile.imwrite(tmp_path / "gain.gain", image)

    def read(name: str) -> np.ndarray:
        return read_gain(tmp_path / name, movie_format="eer", shape=(6, 4))

    divided = np.where(image > 0, image.mean() / np.where(image > 0, image, 1), 0)
    np.testing.assert_allclose(read("gain.mrc"), divided, rtol=1e-6)
    np.testing.assert_allclose(read("gain.tif"), divided[::-1], rtol=1e-6)
    np.testing.assert_array_equal(read("gain.gain"), image)
    assert read("gain.mrc")[2, 1] == 0, "dead pixels stay dead"


def test_a_gain_too_small_to_divide_by(tmp_path: Path) -> None:
    image = GAIN.copy()
    image[2, 1] = 1e-30
    write_mrc(tmp_path / "gain.mrc", image, 1.0)
    with pytest.raises(BadInput, match=r"gain\.mrc: the gain is 1e-30 somewhere"):
        read_gain(tmp_path / "gain.mrc", movie_format="eer", shape=(6, 4))


def test_whole_factors_are_averaged_or_replicated(tmp_path: Path) -> None:
    path = tmp_path / "gain.mrc"
    write_mrc(path, GAIN, 1.0)
    np.testing.assert_array_equal(read_gain(path, movie_format="mrc", shape=(12, 8)), np.kron(GAIN, np.ones((2, 2))))
    blocks = GAIN.reshape(3, 2, 2, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(read_gain(path, movie_format="mrc", shape=(3, 2)), blocks, rtol=1e-6)
    for shape in ((6, 5), (4, 6), (12, 4), (9, 6)):
        with pytest.raises(BadInput, match=rf"gain\.mrc: 6 x 4 pixels.* {shape[0]} x {shape[1]}"):
            read_gain(path, movie_format="mrc", shape=shape)


def test_gains_that_make_no_sense(tmp_path: Path) -> None:
    path = tmp_path / "gain.mrc"

    def read() -> np.ndarray:
        return read_gain(path, movie_format="tiff", shape=(6, 4))

    for value, words in ((np.nan, "NaN"), (-1.0, "negative")):
        image = GAIN.copy()
        image[1, 1] = value
        write_mrc(path, image, 1.0)
        with pytest.raises(BadInput, match=words):
            read()
    write_mrc(path, np.zeros((6, 4)), 1.0)
    with pytest.raises(BadInput, match="0 everywhere"):
        read()
    write_mrc(path, np.ones((3, 6, 4)), 1.0)
    with pytest.raises(BadInput, match="holds 3"):
        read()
    with pytest.raises(BadInput, match="not a gain"):
        read_gain(tmp_path / "gain.txt", movie_format="mrc", shape=(6, 4))


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("dtype", ["float32", "uint16", "int32", "uint8", "float64"])
def test_dm_images(tmp_path: Path, version: int, dtype: str) -> None:
    image = (GAIN * 100).astype(dtype)
    write_dm(tmp_path / "a.dm4", image, version)
    found = read_dm4(tmp_path / "a.dm4")
    assert found.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, image)


def test_damaged_dm_images(tmp_path: Path) -> None:
    path = tmp_path / "a.dm4"
    write_dm(path, GAIN)
    whole = path.read_bytes()
    for size in (0, 3, 11, 50, 200, len(whole) - 60):
        path.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=r"a\.dm4"):
            read_dm4(path)
    path.write_bytes(b"II*\0" + whole)
    with pytest.raises(BadInput, match="version"):
        read_dm4(path)


def test_rectangles(tmp_path: Path) -> None:
    path = tmp_path / "defects.txt"
    write_defects(path, [(1, 2, 2, 1), (0, 5, 4, 1)])
    found = read_defects(path, (6, 4))
    expected = np.zeros((6, 4), dtype=bool)
    expected[2, 1:3] = True
    expected[5] = True
    np.testing.assert_array_equal(found, expected)
    path.write_text("# nothing\n\n")
    assert not read_defects(path, (6, 4)).any()
    for line, words in (
        ("1 2 3", "line 1"),
        ("1 2 x 4", "line 1"),
        ("3 0 2 1", "outside the movie's 4 x 6"),
        ("0 0 0 1", "outside"),
    ):
        path.write_text(line)
        with pytest.raises(BadInput, match=words):
            read_defects(path, (6, 4))
    path.write_bytes(b"\0\1\2")
    with pytest.raises(BadInput, match="binary"):
        read_defects(path, (6, 4))


def test_maps(tmp_path: Path) -> None:
    image = np.zeros((6, 4), dtype=np.uint8)
    image[0, 1] = 7
    write_mrc(tmp_path / "map.mrc", image, 1.0, "int8")
    tifffile.imwrite(tmp_path / "map.tif", image)
    (tmp_path / "map.mrc.gz").write_bytes(gzip.compress((tmp_path / "map.mrc").read_bytes()))
    np.testing.assert_array_equal(read_defects(tmp_path / "map.mrc", (6, 4)), image > 0)
    np.testing.assert_array_equal(read_defects(tmp_path / "map.mrc.gz", (6, 4)), image > 0)
    np.testing.assert_array_equal(read_defects(tmp_path / "map.tif", (6, 4)), image[::-1] > 0)
    assert read_defects(tmp_path / "map.mrc", (12, 8)).sum() == 4
    assert read_defects(tmp_path / "map.mrc", (3, 2)).sum() == 1
    with pytest.raises(BadInput, match=r"map\.mrc: 6 x 4 pixels"):
        read_defects(tmp_path / "map.mrc", (7, 4))


SERIALEM = """CameraSizeX 8
CameraSizeY 6
RotationAndFlip 0
WasScaled 0
K2Type 1
UsableArea 0 0 5 7
PartialBadColumn 4 2 1 3
PartialBadRow 5 1 0 1
BadPixels 7 0 6 1
BadColumns 2
"""


def expect_serialem() -> np.ndarray:
    """In the file's own geometry: the first row on top."""
    bad = np.zeros((6, 8), dtype=bool)
    bad[1:4, 4:6] = True
    bad[5, 0:2] = True
    bad[0, 7] = bad[1, 6] = True
    bad[:, 2] = True
    return bad


def test_serialem_lists_turn_with_the_gain(tmp_path: Path) -> None:
    path = tmp_path / "defects.txt"
    path.write_text(SERIALEM)
    lying = expect_serialem()[::-1]
    np.testing.assert_array_equal(read_defects(path, (6, 8)), lying)
    np.testing.assert_array_equal(read_defects(path, (8, 6), rotation=90), np.rot90(lying))
    np.testing.assert_array_equal(read_defects(path, (8, 6), rotation=90, flip="x"), np.fliplr(np.rot90(lying)))
    np.testing.assert_array_equal(read_defects(path, (12, 16)), np.kron(lying, np.ones((2, 2), dtype=bool)))
    with pytest.raises(BadInput, match=r"defects\.txt: 6 x 8 pixels"):
        read_defects(path, (8, 6))


def test_serialem_gain_and_defects_stay_together(tmp_path: Path) -> None:
    """A gain that is 0 just where the list says so: both turned, they must agree."""
    (tmp_path / "defects.txt").write_text(SERIALEM)
    write_dm(tmp_path / "gain.dm4", np.where(expect_serialem(), 0, 1).astype(np.float32))
    for rotation, flip in ((0, "none"), (90, "none"), (270, "y"), (180, "x")):
        shape = (8, 6) if rotation % 180 else (6, 8)
        options = {"rotation": rotation, "flip": flip}
        gain = read_gain(tmp_path / "gain.dm4", movie_format="tiff", shape=shape, **options)  # type: ignore[arg-type]
        np.testing.assert_array_equal(gain == 0, read_defects(tmp_path / "defects.txt", shape, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize("operation", range(8))
def test_serialem_lists_of_a_turned_image_lie_as_the_detector(tmp_path: Path, operation: int) -> None:
    """SerialEM's arithmetic, pixel by pixel: with 4, x runs backwards; each quarter turn takes the right edge to the top."""
    rows, columns = np.nonzero(expect_serialem())
    height, width = 6, 8
    x, y = (width - 1 - columns if operation & 4 else columns), rows
    for _ in range(operation % 4):
        x, y, width, height = y, width - 1 - x, height, width
    pairs = " ".join(f"{column} {row}" for column, row in zip(x, y, strict=True))
    path = tmp_path / "defects.txt"
    path.write_text(f"CameraSizeX {width}\nCameraSizeY {height}\nRotationAndFlip {operation}\nBadPixels {pairs}\n")
    np.testing.assert_array_equal(read_defects(path, (6, 8)), expect_serialem()[::-1])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("RotationAndFlip 16", r"outside 0\.\.15"),
        ("RotationAndFlip x", "whole numbers"),
        ("BadPixels 1 2 3", "odd number"),
        ("BadPixels 8 0", "8 is outside"),
        ("BadColumns x", "whole numbers"),
        ("PartialBadRow 1 2", "2 numbers"),
    ],
)
def test_damaged_serialem_lists(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "defects.txt"
    path.write_text(SERIALEM + line)
    with pytest.raises(BadInput, match=words):
        read_defects(path, (6, 8))
    path.write_text("CameraSizeX 0\n")
    with pytest.raises(BadInput, match="CameraSizeX 0"):
        read_defects(path, (6, 8))


def test_real_defect_map(real_data: Path) -> None:
    found = read_defects(real_data / "motion" / "27489513.mrc.gz", (4092, 5760))
    assert found.sum() == 8184
    assert np.flatnonzero(found.all(axis=0)).tolist() == np.flatnonzero(found.any(axis=0)).tolist(), "whole columns"
