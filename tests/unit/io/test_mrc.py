"""MRC files: every mode and dialect, against the mrcfile package as an independent reader and writer."""

import bz2
import gzip
import resource
import struct
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from magellon.errors import BadInput, Transient
from magellon.io.files import replacing
from magellon.io.mrc import MrcStackWriter, open_mrc, read_mrc, write_mrc
from magellon.io.mrc_header import read_mrc_header

RNG = np.random.default_rng(1)
IMAGE = RNG.normal(size=(5, 7)).astype(np.float32)


def write_reference(path: Path, array: np.ndarray, *, pixel_size: float = 1.5, big_endian: bool = False) -> None:
    """Written by the mrcfile package."""
    with mrcfile.new(path) as mrc:
        mrc.set_data(array.astype(array.dtype.newbyteorder(">")) if big_endian else array)
        mrc.voxel_size = pixel_size


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float32", "float16"])
@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7)])
def test_reads_what_mrcfile_writes(tmp_path: Path, dtype: str, big_endian: bool, shape: tuple[int, ...]) -> None:
    array = RNG.integers(0, 100, shape).astype(dtype)
    write_reference(tmp_path / "a.mrc", array, big_endian=big_endian)
    header = read_mrc_header(tmp_path / "a.mrc")
    assert header.little_endian is not (big_endian and dtype != "int8")  # mrcfile has no big-endian bytes
    assert (header.width, header.height, header.sections) == (7, 5, 3 if len(shape) == 3 else 1)
    assert header.pixel_size == pytest.approx(1.5)
    native = read_mrc(tmp_path / "a.mrc", native=True)
    assert native.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(native, array)
    assert read_mrc(tmp_path / "a.mrc").dtype == np.float32


@pytest.mark.parametrize("mode", ["int8", "int16", "uint16", "float32", "float16"])
def test_mrcfile_reads_what_we_write(tmp_path: Path, mode: str) -> None:
    stack = RNG.integers(0, 100, (3, 5, 7)).astype(np.float32)
    write_mrc(tmp_path / "a.mrcs", stack, 0.885, mode)  # type: ignore[arg-type]
    with mrcfile.open(tmp_path / "a.mrcs") as mrc:
        assert mrc.data.dtype == np.dtype(mode)
        np.testing.assert_array_equal(mrc.data, stack)
        assert float(mrc.voxel_size.x) == pytest.approx(0.885)
        assert float(mrc.header.dmin) == stack.min()
        assert float(mrc.header.dmean) == pytest.approx(stack.mean(), rel=1e-6)
        assert float(mrc.header.rms) == pytest.approx(stack.std(), rel=1e-6)
    if mode != "float16":  # where mrcfile's own check of the deviation overflows
        assert mrcfile.validate(tmp_path / "a.mrcs", print_file=None)


def test_stacks_and_volumes_are_told_apart(tmp_path: Path) -> None:
    for volume in (False, True):
        write_mrc(tmp_path / "a.mrc", np.zeros((4, 5, 7)), 1.5, volume=volume)
        with mrcfile.open(tmp_path / "a.mrc") as mrc:
            assert bool(mrc.is_volume()) is volume
            assert bool(mrc.is_image_stack()) is not volume
            assert float(mrc.voxel_size.z) == pytest.approx(1.5)
        assert mrcfile.validate(tmp_path / "a.mrc", print_file=None)
        header = read_mrc_header(tmp_path / "a.mrc")
        assert (header.space_group, header.pixel_size_z) == (int(volume), pytest.approx(1.5))


@pytest.mark.parametrize("pixel_size", [0.885, 1.39955, 1 / 3, 1.0000005, 2.7182818, 6.32])
@pytest.mark.parametrize("width", [7, 3838, 4096])
def test_header_prints_the_same_pixel_size_as_a_star_file(tmp_path: Path, pixel_size: float, width: int) -> None:
    write_mrc(tmp_path / "a.mrc", np.zeros((2, width), dtype=np.float32), pixel_size)
    found = read_mrc_header(tmp_path / "a.mrc").pixel_size
    assert f"{found:.6f}" == f"{pixel_size:.6f}"
    raw = (tmp_path / "a.mrc").read_bytes()  # and in single precision, as RELION divides
    cell, intervals = struct.unpack_from("<f", raw, 40)[0], struct.unpack_from("<i", raw, 28)[0]
    assert f"{np.float32(cell) / np.float32(intervals):.6f}" == f"{pixel_size:.6f}"


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", IMAGE, 1.2)
    write_mrc(tmp_path / "b.mrc", IMAGE, 1.2)
    assert (tmp_path / "a.mrc").read_bytes() == (tmp_path / "b.mrc").read_bytes()


def patch(path: Path, offset: int, code: str, *values: int | float) -> None:
    raw = bytearray(path.read_bytes())
    struct.pack_into(code, raw, offset, *values)
    path.write_bytes(raw)


def test_mode_0_is_unsigned_where_imod_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    write_mrc(path, np.array([[-1, 5]]), 1.0, "int8")
    np.testing.assert_array_equal(read_mrc(path), [[-1, 5]])
    patch(path, 152, "<2i", 1146047817, 0)
    np.testing.assert_array_equal(read_mrc(path), [[255, 5]])
    patch(path, 152, "<2i", 1146047817, 1)
    np.testing.assert_array_equal(read_mrc(path), [[-1, 5]])


def test_four_bit_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    write_mrc(path, np.array([[0x21, 0x43, 0x05], [0x76, 0x18, 0x0F]]), 1.0, "int8")
    patch(path, 0, "<i", 5)
    patch(path, 12, "<i", 101)
    np.testing.assert_array_equal(read_mrc(path), [[1, 2, 3, 4, 5], [6, 7, 8, 1, 15]])
    patch(path, 0, "<4i", 3, 2, 1, 0)
    patch(path, 152, "<2i", 1146047817, 16)
    assert read_mrc_header(path).width == 6
    assert read_mrc_header(path).pixel_size == pytest.approx(1.0)
    np.testing.assert_array_equal(read_mrc(path), [[1, 2, 3, 4, 5, 0], [6, 7, 8, 1, 15, 0]])


@pytest.mark.parametrize(("suffix", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed_files(tmp_path: Path, suffix: str, pack: object) -> None:
    stack = RNG.normal(size=(4, 5, 7)).astype(np.float32)
    write_mrc(tmp_path / "a.mrc", stack, 1.2)
    packed = pack((tmp_path / "a.mrc").read_bytes())  # type: ignore[operator]
    path = tmp_path / f"a.mrc{suffix}"
    path.write_bytes(packed)
    np.testing.assert_array_equal(read_mrc(path), stack)
    with open_mrc(path) as mrc:
        np.testing.assert_array_equal(mrc.read(3), stack[3])
        np.testing.assert_array_equal(mrc.read(1), stack[1])
    path.write_bytes(packed[:-30])
    with pytest.raises(BadInput, match=r"a\.mrc.*truncated"):
        read_mrc(path)
    path.write_bytes(b"garbage" + packed)
    with pytest.raises(BadInput, match=r"a\.mrc"):
        read_mrc(path)


def test_errors_name_file_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "movie.mrc"
    write_mrc(path, np.zeros((3, 5, 7), dtype=np.float32), 1.0)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(BadInput, match=r"movie\.mrc: truncated: 1443 bytes found, 1444 expected for 3 x 5 x 7"):
        read_mrc(path)
    path.write_bytes(whole + bytes(140))
    with pytest.raises(BadInput, match=r"inconsistent: 1584 bytes found, 1444 expected"):
        read_mrc_header(path)
    path.write_bytes(whole + bytes(139))
    assert read_mrc(path).shape == (3, 5, 7)
    path.write_bytes(b"")
    with pytest.raises(BadInput, match=r"movie\.mrc: is empty"):
        read_mrc(path)
    path.write_bytes(whole[:100])
    with pytest.raises(BadInput, match="100 bytes found"):
        read_mrc(path)
    with pytest.raises(BadInput, match=r"none\.mrc.*No such file"):
        read_mrc(tmp_path / "none.mrc")
    with pytest.raises(BadInput, match="directory"):
        read_mrc(tmp_path)


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [(0, 0, "nx is 0"), (4, -3, "ny is -3"), (8, 1 << 30, "nz is 1073741824"), (12, 4, "mode 4"), (92, -4, "extended header")],
)
def test_headers_that_make_no_sense(tmp_path: Path, offset: int, value: int, words: str) -> None:
    write_mrc(tmp_path / "a.mrc", IMAGE, 1.0)
    patch(tmp_path / "a.mrc", offset, "<i", value)
    with pytest.raises(BadInput, match=words):
        read_mrc(tmp_path / "a.mrc")


def test_pixels_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    stack = np.zeros((3, 5, 7), dtype=np.float32)
    stack[1, 2, 3] = np.nan
    stack[1, 2, 4] = np.inf
    with MrcStackWriter(tmp_path / "a.mrc", (5, 7), 1.0) as writer:
        for image in stack:
            writer.append(image)
    with pytest.raises(BadInput, match=r"a\.mrc: section 2: 2 of 35 pixels are NaN or infinite"):
        read_mrc(tmp_path / "a.mrc")
    assert np.isnan(read_mrc(tmp_path / "a.mrc", finite=False)[1, 2, 3])


def test_pixel_size_unknown(tmp_path: Path) -> None:
    write_mrc(tmp_path / "a.mrc", IMAGE, 1.0)
    patch(tmp_path / "a.mrc", 40, "<3f", 0.0, 0.0, 0.0)
    assert read_mrc_header(tmp_path / "a.mrc").pixel_size is None
    patch(tmp_path / "a.mrc", 40, "<3f", float("nan"), 1.0, 1.0)
    assert read_mrc_header(tmp_path / "a.mrc").pixel_size is None


def test_stack_writer_streams_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "a.mrcs"
    with MrcStackWriter(path, 6, 3.54) as writer:
        assert [writer.append(np.full((6, 6), value, dtype=np.float32)) for value in range(4)] == [1, 2, 3, 4]
        assert not path.exists(), "half a stack must not be seen"
    assert read_mrc(path).shape == (4, 6, 6)
    assert [file.name for file in tmp_path.iterdir()] == ["a.mrcs"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.mrcs"
    path.write_bytes(b"old")

    def fail_half_way() -> None:
        with MrcStackWriter(path, 6, 3.54) as writer:
            writer.append(np.zeros((6, 6)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.mrcs"]


def test_wrong_arguments(tmp_path: Path) -> None:
    path = tmp_path / "a.mrc"
    with pytest.raises(ValueError, match="do not fit int8"):
        write_mrc(path, np.array([[200]]), 1.0, "int8")
    with pytest.raises(ValueError, match="do not fit uint16"):
        write_mrc(path, np.array([[np.nan]]), 1.0, "uint16")
    with pytest.raises(ValueError, match="pixel size"):
        write_mrc(path, IMAGE, 0.0)
    with pytest.raises(ValueError, match="shape"):
        write_mrc(path, np.zeros(3), 1.0)
    with pytest.raises(ValueError, match="shape"), MrcStackWriter(path, 6, 1.0) as writer:
        writer.append(np.zeros((5, 6)))
    assert not path.exists()
    write_mrc(path, np.zeros((2, 2)), 1.0)
    with pytest.raises(IndexError, match="no section 1"):
        open_mrc(path).read(1)


def test_a_full_disk_is_transient(tmp_path: Path) -> None:
    full = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - closed below
    with full, pytest.raises(Transient, match="no space left"), replacing(tmp_path / "a.mrc"):
        full.write(b"x")
    with pytest.raises(Transient, match="cannot be written"):
        write_mrc(tmp_path / "missing" / "a.mrc", IMAGE, 1.0)


def test_no_space_while_writing_leaves_nothing(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(Transient, match=r"a\.mrc: no space left"):
            write_mrc(tmp_path / "a.mrc", np.zeros((400, 400)), 1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_header_needs_no_numpy() -> None:
    code = "import sys, magellon.io.mrc_header, magellon.io.movie_header, magellon.io.star; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fei_extended_header(real_data: Path) -> None:
    header = read_mrc_header(real_data / "micrographs" / "fei-extended.mrc")
    metadata = header.metadata
    assert metadata is not None
    assert (header.mode, header.width, header.height, header.extended_type) == (6, 3710, 3838, "FEI1")
    assert header.pixel_size == pytest.approx(0.85378, abs=1e-5)
    assert metadata.pixel_size == pytest.approx(0.85378, abs=1e-5)
    assert metadata.voltage == 300
    assert metadata.applied_defocus == pytest.approx(8000)
    assert metadata.exposure == pytest.approx(47.62, abs=0.01)
    assert (metadata.integration_time, metadata.magnification) == (10, 165000)
    assert (metadata.camera, metadata.microscope) == ("EF-CCD", "TITAN52336320")


def test_real_files_read_as_mrcfile_reads_them(real_data: Path) -> None:
    names = ["grids/tilt1.mrc", "micrographs/capsid_ds8.mrc", "particles/empiar_10076_7.mrc", "motion/27489513.mrc.gz"]
    particles = sorted((real_data / "particles" / "betagal").glob("*.mrcs"))[:2]
    for path in [real_data / name for name in names] + particles:
        with mrcfile.open(path, permissive=True) as mrc:
            np.testing.assert_array_equal(read_mrc(path, native=True).reshape(mrc.data.shape), mrc.data)


def test_a_file_older_than_the_map_stamp(real_data: Path) -> None:
    path = real_data / "grids" / "pyami_test1.mrc"
    header = read_mrc_header(path)
    assert not header.map_stamp
    assert (header.mode, header.pixel_size) == (1, None)
    image = read_mrc(path)
    np.testing.assert_array_equal(image.ravel(), np.frombuffer(path.read_bytes()[1024:], dtype="<i2"))
