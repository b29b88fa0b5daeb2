"""STAR files of every RELION version, read and written."""

import time
from pathlib import Path

import gemmi
import numpy as np
import pytest

from magellon.errors import BadInput
from magellon.io.star import StarTable, format_value, read_star, write_star

PARTICLES = {
    "rlnMicrographName": ["m1.mrc", "m1.mrc", "m 2.mrc"],
    "rlnCoordinateX": [1.0, 2.25, 3000.123456],
    "rlnClassNumber": [1, 2, 3],
    "rlnNote": ["", "it's", 'a "b" c'],
}


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    optics = StarTable({"rlnVoltage": [300.0], "rlnOpticsGroupName": ["opticsGroup1"]}, loop=False)
    write_star(tmp_path / "a.star", {"optics": optics, "particles": PARTICLES})
    tables = read_star(tmp_path / "a.star")
    assert list(tables) == ["optics", "particles"]
    assert not tables["optics"].loop
    assert tables["optics"].floats("rlnVoltage") == [300.0]
    particles = tables["particles"]
    assert (particles.rows, particles.loop) == (3, True)
    assert particles.texts("rlnMicrographName") == PARTICLES["rlnMicrographName"]
    assert particles.floats("rlnCoordinateX") == PARTICLES["rlnCoordinateX"]
    assert particles.ints("rlnClassNumber") == [1, 2, 3]
    assert particles.texts("rlnNote") == PARTICLES["rlnNote"]
    write_star(tmp_path / "b.star", tables)
    again = read_star(tmp_path / "b.star")
    assert {name: dict(table) for name, table in again.items()} == {name: dict(table) for name, table in tables.items()}
    write_star(tmp_path / "c.star", {"optics": optics, "particles": PARTICLES})
    assert (tmp_path / "c.star").read_bytes() == (tmp_path / "a.star").read_bytes()


def test_gemmi_reads_what_we_write(tmp_path: Path) -> None:
    write_star(tmp_path / "a.star", {"particles": {**PARTICLES, "rlnNote": ["#1", "_x", "data_y"]}})
    block = gemmi.cif.read(str(tmp_path / "a.star"))[0]
    assert [gemmi.cif.as_string(value) for value in block.find_values("_rlnMicrographName")] == PARTICLES["rlnMicrographName"]
    assert [gemmi.cif.as_string(value) for value in block.find_values("_rlnNote")] == ["#1", "_x", "data_y"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (True, "1"),
        (0.0, "0.000000"),
        (-0.0, "0.000000"),
        (1.5, "1.500000"),
        (10000, "10000"),
        (np.int64(3), "3"),
        (np.float32(0.5), "0.500000"),
        (Path("a b.mrc"), '"a b.mrc"'),
        (12345.6789012, "12345.678901"),
        (1.234567e-5, "1.234567e-05"),
        (-0.001, "-1.000000e-03"),
        (1e20, "1.000000e+20"),
        ("a b", '"a b"'),
        ("", '""'),
        ('say "x y"', "'say \"x y\"'"),
    ],
)
def test_values_are_written_alike_everywhere(value: object, text: str) -> None:
    assert format_value(value) == text  # type: ignore[arg-type]


def test_what_star_cannot_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    with pytest.raises(ValueError, match="line break"):
        write_star(path, {"x": {"a": ["b\nc"]}})
    with pytest.raises(ValueError, match="both kinds"):
        write_star(path, {"x": {"a": ["' and \" "]}})
    with pytest.raises(ValueError, match="different lengths"):
        write_star(path, {"x": {"a": [1], "b": [1, 2]}})
    with pytest.raises(ValueError, match="not finite"):
        write_star(path, {"x": {"a": [float("nan")]}})
    assert not path.exists()


def test_relion_2_files_have_a_block_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_text("\ndata_\n\nloop_ \n_rlnImageName #1 \n_rlnDefocusU #2 \n000001@a.mrcs 10000.0 \n000002@a.mrcs 10001.5 \n")
    table = read_star(path)[""]
    assert table.texts("rlnImageName") == ["000001@a.mrcs", "000002@a.mrcs"]
    assert table.floats("rlnDefocusU") == [10000, 10001.5]


def test_quotes_comments_and_odd_spacing(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_bytes(
        b"# version 30001\r\ndata_one # first\r\n_a 'x y'\r\n_b\t\"p #q\" # note\r\n_c it's\r\n_d a#b\r\n"
        b"data_two\r\nloop_\r\n_e #1\r\n_f #2\r\n\t'1 2'  3\r\n\r\n4 5 # last"
    )
    tables = read_star(path)
    assert dict(tables["one"]) == {"a": ["x y"], "b": ["p #q"], "c": ["it's"], "d": ["a#b"]}
    assert dict(tables["two"]) == {"e": ["1 2", "4"], "f": ["3", "5"]}


def test_blocks_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "a.star").write_text("data_x\n_a 1\ndata_x\n_a 2\n")
    assert {name: table["a"] for name, table in read_star(tmp_path / "a.star").items()} == {"x": ["1"], "x#2": ["2"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no data_ block"),
        ("hello\n", "line 1 stands before"),
        ("data_x\nloop_\n_a\n_b\n1 2\n3\n", "line 6 has 1 values for 2 labels"),
        ("data_x\n_a 1 2\n", "_a has 2 values"),
        ("data_x\n_a\n", "_a has 0 values"),
        ("data_x\nloop_\n_a\n_a\n1 2\n", "_a stands twice"),
        ("data_x\nloop_\n_a\n1\nloop_\n_b\n", "second loop_"),
        ("data_x\n1 2\n", "neither a label nor"),
        ("data_x\n\0\n", "binary"),
    ],
)
def test_damaged_files(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "particles.star"
    path.write_text(text)
    with pytest.raises(BadInput, match=rf"particles\.star.*{words}"):
        read_star(path)


def test_columns_that_are_missing_or_not_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.star"
    path.write_text("data_x\nloop_\n_a\n_b\n1 2.5\nnone 3\n")
    table = read_star(path)["x"]
    with pytest.raises(BadInput, match=r"a\.star \(data_x\): a in row 2 is 'none', not a number"):
        table.floats("a")
    with pytest.raises(BadInput, match=r"b in row 1 is 2\.5, not a whole number"):
        table.ints("b")
    with pytest.raises(BadInput, match=r"no column c; there are a, b"):
        table.floats("c")
    assert table.floats("c", 1.5) == [1.5, 1.5]
    assert table.ints("c", 7) == [7, 7]
    assert StarTable({"a": ["3.000000"]}).ints("a") == [3]


def test_every_real_file_is_read(real_data: Path) -> None:
    paths = [path for folder in ("star", "motion", "particles", "picks") for path in (real_data / folder).rglob("*.star")]
    assert len(paths) > 40
    for path in paths:
        tables = read_star(path)
        assert tables
        for table in tables.values():
            assert len({len(column) for column in table.values()}) <= 1


def test_real_files_of_relion_3_to_5(real_data: Path) -> None:
    star = real_data / "star"
    assert read_star(star / "relion31.6opticsgroups.star")["optics"].rows == 6
    relion5 = read_star(star / "relion5.star")
    assert (relion5["optics"].rows, relion5["particles"].rows) == (1, 17)
    micrographs = read_star(star / "corrected_micrographs.star")
    assert micrographs["micrographs"].rows == 24
    old = read_star(real_data / "particles" / "empiar_10076_7.star")
    assert next(iter(old.values())).rows == 7


def test_syntax_of_real_files_as_gemmi_reads_it(real_data: Path) -> None:
    for name in ("particles_1k.star", "syntax/postprocess.star", "syntax/one_loop.star", "run_it025_model.star"):
        path = real_data / "star" / name
        ours = read_star(path)
        for block, table in zip(gemmi.cif.read(str(path)), ours.values(), strict=True):
            for label, column in table.items():
                theirs = list(block.find_values(f"_{label}"))
                assert column == [gemmi.cif.as_string(value) for value in theirs], f"{name} {block.name} {label}"


@pytest.mark.slow
def test_a_hundred_thousand_particles_take_little_longer_than_in_gemmi(tmp_path: Path) -> None:
    rows = 100_000
    columns = {f"rlnColumn{number}": [number + row * 0.37 for row in range(rows)] for number in range(25)}
    columns["rlnImageName"] = [f"{row:06d}@Extract/a.mrcs" for row in range(rows)]  # type: ignore[misc]
    write_star(tmp_path / "a.star", {"particles": columns})
    ours, theirs = [], []
    for _ in range(3):
        began = time.process_time()
        table = read_star(tmp_path / "a.star")["particles"]
        ours.append(time.process_time() - began)
        began = time.process_time()
        block = gemmi.cif.read(str(tmp_path / "a.star"))[0]
        for label in columns:
            list(block.find_values(f"_{label}"))
        theirs.append(time.process_time() - began)
        assert table.rows == rows
    assert min(ours) < 3 * min(theirs)
