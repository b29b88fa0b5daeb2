"""What a watch sees of real files: which are movies, whether they are whole, what the metadata beside them promises."""

import bz2
import gzip
import os
import struct
from pathlib import Path

import pytest

from magellon.platform.sessions.watch_files import SessionFolder
from magellon.platform.sessions.watch_metadata import find_metadata, looks_like_movie, read_promised_frames

FRAME = 64


def make_mrc(frames: int = 3) -> bytes:
    header = struct.pack("<10i", 8, 8, frames, 0, 0, 0, 0, 8, 8, frames) + struct.pack("<3f", 8, 8, frames) + bytes(12)
    header = (header + struct.pack("<3i", 1, 2, 3)).ljust(208, b"\0") + b"MAP " + bytes([0x44, 0x44, 0, 0])
    return header.ljust(1024, b"\0") + bytes(range(FRAME)) * frames


def make_tiff(frames: int = 3) -> bytes:
    """Each frame followed by its directory, as programs write them that append frames."""
    content = b"II*\0" + struct.pack("<I", 8 + FRAME)
    for number in range(frames):
        start = len(content)
        tags = [
            (256, 3, 1, 8),
            (257, 3, 1, 8),
            (258, 3, 1, 8),
            (273, 4, 1, start),
            (277, 3, 1, 1),
            (278, 3, 1, 8),
            (279, 4, 1, FRAME),
        ]
        following = start + 2 * FRAME + 6 + 12 * len(tags) if number + 1 < frames else 0
        entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        content += bytes(range(FRAME)) + struct.pack("<H", len(tags)) + entries + struct.pack("<I", following)
    return content


def look(folder: Path, name: str, content: bytes) -> tuple[str | None, int]:
    (folder / name).write_bytes(content)
    found = SessionFolder(folder, "*").inspect(name, None)
    assert found.state.size == len(content)
    return found.problem, found.frames


@pytest.mark.parametrize("kind", ["mrc", "tif", "mrc.gz", "mrc.bz2"])
def test_no_part_of_a_movie_passes_for_a_whole_one(tmp_path: Path, kind: str) -> None:
    content = {"mrc": make_mrc(), "tif": make_tiff(), "mrc.gz": gzip.compress(make_mrc()), "mrc.bz2": bz2.compress(make_mrc())}[
        kind
    ]
    assert look(tmp_path, f"a.{kind}", content) == (None, 3)
    for length in {0, 1, 100, len(content) // 2, len(content) - FRAME - 1, len(content) - 5, len(content) - 1}:
        problem, _ = look(tmp_path, f"a.{kind}", content[:length])
        assert problem is not None, f"{length} of {len(content)} bytes"
        assert f"a.{kind}" in problem


def test_space_that_a_copy_has_not_filled_yet_is_doubtful(tmp_path: Path) -> None:
    content = make_mrc(100)
    (tmp_path / "a.mrc").write_bytes(content)
    (tmp_path / "b.mrc").write_bytes(content[:2000].ljust(len(content), b"\0"))
    folder = SessionFolder(tmp_path, "*")
    assert [folder.inspect(name, None).doubtful for name in ("a.mrc", "b.mrc")] == [False, True]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.mrc", {"a.mrc"}),
        ("*", {"a.mrc", "b.TIF"}),
        ("movies/*", {"movies/c.mrc.gz"}),
        ("grid*/*/Data/*.eer", {"grid1/square/Data/d.eer"}),
        ("**/*", {"a.mrc", "b.TIF", "movies/c.mrc.gz", "grid1/square/Data/d.eer"}),
        ("grid1/**", {"grid1/square/Data/d.eer"}),
        ("absent/*", set()),
    ],
)
def test_a_pattern_finds_movies_and_nothing_else(tmp_path: Path, pattern: str, expected: set[str]) -> None:
    for name in (
        "a.mrc",
        "b.TIF",
        "gain.mrc",
        ".c.mrc",
        "notes.txt",
        "movies/c.mrc.gz",
        ".trash/x.mrc",
        "grid1/square/Data/d.eer",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.mrc").mkdir()
    os.symlink(tmp_path, tmp_path / "movies/loop")
    found = SessionFolder(tmp_path, pattern, frozenset({"gain.mrc"})).list_files().movies
    assert sorted(found) == sorted(expected)


def test_a_folder_that_is_away_is_an_error_and_not_empty(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="absent"):
        SessionFolder(tmp_path / "absent", "*").list_files()


def test_metadata_is_found_by_the_movies_name(tmp_path: Path) -> None:
    for name in ("movies/a.tif", "movies/a.tif.mdoc", "movies/b.tif", "b.tif.mdoc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listing = SessionFolder(tmp_path, "movies/*").list_files()
    assert listing.find_metadata("movies/a.tif") == "movies/a.tif.mdoc"
    assert listing.find_metadata("movies/b.tif") is None
    assert find_metadata("FoilHole_1_Data_2_3_Fractions.tiff", {"FoilHole_1_Data_2_3.xml"}) == "FoilHole_1_Data_2_3.xml"
    assert find_metadata("FoilHole_1_Data_2_3_EER.eer", {"FoilHole_1_Data_2_3.xml"}) == "FoilHole_1_Data_2_3.xml"
    assert find_metadata("a.mrc", {"a.json", "b.xml"}) == "a.json"


def test_metadata_in_another_folder_are_found_and_those_beside_the_movie_go_first(tmp_path: Path) -> None:
    names = ("session/a.tif", "session/b.tif", "session/b.tif.mdoc", "session/c.tif", "said/day1/a.tif.mdoc", "said/b.tif.mdoc")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    folder = SessionFolder(tmp_path / "session", "**/*", metadata=tmp_path / "said")
    listing = folder.list_files()
    assert sorted(listing.movies) == ["a.tif", "b.tif", "c.tif"]
    assert [listing.find_metadata(name) for name in ("a.tif", "b.tif", "c.tif")] == [
        "../said/day1/a.tif.mdoc", "b.tif.mdoc", None,
    ]  # fmt: skip
    assert folder.stat("../said/day1/a.tif.mdoc").size == 0
    assert SessionFolder(tmp_path / "session", "*", metadata=tmp_path / "absent").list_files().elsewhere == {}


def test_sums_and_gains_are_no_movies() -> None:
    names = ["FoilHole_1_Data_2_3_Fractions.tiff", "FoilHole_1_Data_2_3_EER.eer", "FoilHole_1_Data_2_3.mrc", "FoilHole_1_2.mrc"]
    assert [looks_like_movie("epu", f"GridSquare_1/Data/{name}") for name in names] == [True, True, False, False]
    assert [looks_like_movie("serialem", name) for name in ("a_0001.tif", "CountRef_a.mrc")] == [True, False]


def test_metadata_promise_frames(tmp_path: Path) -> None:
    def promise(name: str, text: str, movie: str = "a.tif") -> int | None:
        (tmp_path / name).write_text(text)
        return read_promised_frames(tmp_path / name, movie)

    assert promise("a.tif.mdoc", "[FrameSet = 0]\nSubFramePath = D:\\raw\\a.tif\nNumSubFrames = 40\n") == 40
    sections = "".join(
        f"[ZValue = {n}]\nSubFramePath = X:\\{name}\nNumSubFrames = {n}\n" for n, name in ((7, "a.tif"), (8, "b.tif"))
    )
    assert promise("all.mdoc", sections) == 7
    assert promise("all.mdoc", sections, "c.tif") is None
    assert promise("a.mdoc", "[FrameSet = 0]\nNumSubFr") is None
    assert promise("a.json", '{"frames": 12}') == 12
    assert [promise("a.json", text) for text in ('{"fra', "[]", '{"frames": "many"}', '{"frames": -1}')] == [None] * 4
    assert promise("a.xml", "<a><b:NumberOffractions>50</b:NumberOffractions>") == 50
    assert promise("a.xml", "<a><b:NumberOffractions>50</b:Numb") is None


def test_real_metadata_promise_frames(real_data: Path) -> None:
    mdoc = real_data / "serialem/spa-k2/2023-09-25_14.13.07_Grid9-_template_0035.tif.mdoc"
    assert read_promised_frames(mdoc, mdoc.name[:-5]) == 40
    data = real_data / "epu/3.9.1/Images-Disc1/GridSquare_8999138/Data/FoilHole_9015883_Data_9017347_6_20250108_154915.xml"
    assert read_promised_frames(data, "any") == 50
    eer = real_data / "epu/3.8.1-falcon4i/xml/FoilHole_31933450_Data_31923928_31923930_20240901_060108.xml"
    assert read_promised_frames(eer, "any") == 187, "0.62 s at 317.8 frames/s are 197, a few may be missing"
