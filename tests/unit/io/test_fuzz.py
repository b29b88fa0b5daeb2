"""No bytes, however damaged, raise anything but BadInput, or take long."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magellon.errors import BadInput
from magellon.io.box import read_box
from magellon.io.defects import read_defects
from magellon.io.describe import describe_file
from magellon.io.dm4 import read_dm4
from magellon.io.eer_encoder import write_eer
from magellon.io.movie import open_movie
from magellon.io.movie_header import read_movie_header
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.star import read_star

quickly = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


def read_movie(path: Path) -> None:
    header = read_movie_header(path)
    if header.frames * header.height * header.width < 1 << 24:
        with open_movie(path) as movie:
            for frame in movie:
                assert frame.shape == (movie.height, movie.width)


def read_defect_list(path: Path) -> None:
    read_defects(path, (8, 8))


def complain(read: Callable[[Path], object], path: Path) -> str:
    """What the reader says of the file; the file's name when it has nothing against it."""
    try:
        read(path)
    except BadInput as error:
        return str(error)
    return path.name


READERS: list[tuple[str, Callable[[Path], object]]] = [
    ("a.mrc", read_mrc),
    ("a.mrc.gz", read_mrc),
    ("a.mrc.bz2", read_mrc),
    ("a.tif", read_movie),
    ("a.tif.gz", read_movie),
    ("a.eer", read_movie),
    ("a.dm4", read_dm4),
    ("a.star", read_star),
    ("a.txt", read_defect_list),
    ("a.box", read_box),
    ("a.mrcs", describe_file),
    ("a.cs", describe_file),
    ("a.csg", describe_file),
]


@pytest.mark.parametrize(("name", "read"), READERS, ids=[name for name, _ in READERS])
@quickly
@given(content=st.binary(max_size=3000))
def test_random_bytes(tmp_path: Path, name: str, read: Callable[[Path], object], content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert name in complain(read, path)


def make_examples(folder: Path) -> dict[str, bytes]:
    """A small whole file of each binary format."""
    frames = np.random.default_rng(5).poisson(1.0, (3, 12, 16)).astype(np.uint8)
    write_mrc(folder / "a.mrc", frames, 1.0, "int8")
    tifffile.imwrite(folder / "a.tif", frames, compression="lzw", photometric="minisblack", rowsperstrip=5)
    tifffile.imwrite(folder / "b.tif", frames.astype(np.float32), photometric="minisblack", bigtiff=True)
    write_eer(folder / "a.eer", [np.argwhere(frame) * 4 for frame in frames], (12, 16), pixel_size=1.0)
    write_eer(folder / "b.eer", [np.argwhere(frame) * 4 for frame in frames], (12, 16), compression=65000)
    write_eer(folder / "c.eer", [np.argwhere(frame) * 4 for frame in frames], (12, 16), compression=65002)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return make_examples(tmp_path_factory.mktemp("examples"))


@pytest.mark.parametrize("name", ["a.mrc", "a.tif", "b.tif", "a.eer", "b.eer", "c.eer"])
@quickly
@given(data=st.data())
def test_whole_files_with_a_few_bytes_changed(
    tmp_path: Path, examples: dict[str, bytes], name: str, data: st.DataObject
) -> None:
    content = bytearray(examples[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        if data.draw(st.booleans()) and at + 4 <= len(content):
            struct.pack_into("<I", content, at, data.draw(st.sampled_from([0, 1, 0xFFFF, 1 << 31, 0xFFFFFFFF, len(content)])))
        else:
            content[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    path = tmp_path / name
    path.write_bytes(content)
    assert name in complain(read_movie, path)


@pytest.mark.parametrize("name", ["a.mrc", "a.tif", "a.eer"])
def test_every_truncation_is_noticed(tmp_path: Path, examples: dict[str, bytes], name: str) -> None:
    whole = examples[name]
    path = tmp_path / name
    end = {
        "a.mrc": len(whole),
        "a.tif": len(whole) - 64,  # tags that nobody needs lie at the end
        "a.eer": len(whole),
    }[name]
    for size in range(0, end, 37):
        path.write_bytes(whole[:size])
        with pytest.raises(BadInput, match=name):
            read_movie(path)


@quickly
@given(text=st.text(alphabet="data_loop_ab#1 \n\t'\"._", max_size=200))
def test_star_like_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.star"
    path.write_text(text)
    try:
        tables = read_star(path)
    except BadInput:
        return
    for table in tables.values():
        assert len({len(column) for column in table.values()}) <= 1
