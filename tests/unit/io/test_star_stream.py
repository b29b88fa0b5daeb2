"""A STAR file read and written piece by piece is the same as in one piece."""

from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.io.star import StarTable, read_star, write_star
from magellon.io.star_stream import StarStream, write_star_stream

OPTICS = {"optics": StarTable({"rlnOpticsGroup": [1], "rlnVoltage": [300.0]})}
ROWS = {"rlnMicrographName": ["m1.mrc", "m 2.mrc", "it's", "m#4", "m5.mrc"], "rlnCoordinateX": ["1.5", "2", "3", "4", "5"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_star(tmp_path / "a.star", OPTICS | {"particles": StarTable(ROWS)})
    return tmp_path / "a.star"


@pytest.mark.parametrize("rows", [1, 2, 5, 100])
def test_pieces_make_the_whole(path: Path, rows: int) -> None:
    with StarStream(path, "particles") as stream:
        assert stream.labels == list(ROWS)
        assert stream.head["optics"].floats("rlnVoltage") == [300.0]
        pieces = list(stream.pieces(rows))
    assert [piece.rows for piece in pieces] == [min(rows, 5 - start) for start in range(0, 5, rows)]
    assert {label: [value for piece in pieces for value in piece[label]] for label in ROWS} == ROWS


def test_what_is_written_in_pieces_is_read_in_one(path: Path, tmp_path: Path) -> None:
    with StarStream(path, "particles") as stream:
        written = write_star_stream(tmp_path / "b.star", stream.head, "particles", stream.labels, stream.pieces(2))
    assert written == 5
    assert read_star(tmp_path / "b.star") == read_star(path)


def test_a_block_in_the_middle_ends_where_the_next_begins(tmp_path: Path) -> None:
    write_star(tmp_path / "a.star", {"particles": StarTable(ROWS), **OPTICS})
    with StarStream(tmp_path / "a.star", "particles") as stream:
        assert stream.head == {}
        assert sum(piece.rows for piece in stream.pieces()) == 5


def test_an_empty_block_has_labels_and_no_pieces(tmp_path: Path) -> None:
    write_star_stream(tmp_path / "a.star", OPTICS, "particles", list(ROWS), [])
    with StarStream(tmp_path / "a.star", "particles") as stream:
        assert stream.labels == list(ROWS)
        assert list(stream.pieces()) == []


def test_a_failure_on_the_way_leaves_no_file(tmp_path: Path) -> None:
    def pieces():  # type: ignore[no-untyped-def]
        yield StarTable(ROWS)
        raise BadInput("stop")

    with pytest.raises(BadInput, match="stop"):
        write_star_stream(tmp_path / "a.star", OPTICS, "particles", list(ROWS), pieces())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data_optics\n\n_a 1\n", "no block data_particles"),
        ("data_particles\nloop_\n", "no columns"),
        ("data_particles\nloop_\n_a\n_b\n1 2\n3\n", "line 6 has 1 values for 2 labels"),
        ("data_particles\nloop_\n_a\n1\n\0\n", "binary"),
        ("data_particles\nloop_\n_a\n_b\n_a\n1 2 3\n", "line 5: label _a stands twice"),
    ],
)
def test_damaged_files(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.star").write_text(text)
    with pytest.raises(BadInput, match=rf"a\.star.*{words}"), StarStream(tmp_path / "a.star", "particles") as stream:
        list(stream.pieces())


def test_real_particles_are_the_same_either_way(real_data: Path) -> None:
    path = real_data / "particles" / "betagal" / "particles.star"
    whole = read_star(path)["particles"]
    with StarStream(path, "particles") as stream:
        pieces = list(stream.pieces(1000))
    assert {label: [value for piece in pieces for value in piece[label]] for label in whole} == dict(whole)
