"""A folder becomes a session only when every path is right; a bad movie is listed with its problem."""

import json
import struct
from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.platform.sessions.definition import Acquisition, read_session
from magellon.platform.sessions.found import FoundMovie
from magellon.platform.sessions.scan import scan_movies


def write_movie(path: Path, width: int = 8, pixel_size: float = 1.5, cut: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack("<10i", width, 8, 2, 0, 0, 0, 0, width, 8, 2)
    header += struct.pack("<3f", width * pixel_size, 8 * pixel_size, 2 * pixel_size) + bytes(12) + struct.pack("<3i", 1, 2, 3)
    header = header.ljust(208, b"\0") + b"MAP " + bytes([0x44, 0x44, 0, 0])
    content = header.ljust(1024, b"\0") + bytes(width * 16)
    path.write_bytes(content[: len(content) - cut])


def scan(folder: Path, **given: object) -> dict[str, FoundMovie]:
    session = read_session(folder, Acquisition.model_validate(given))
    return {found.movie.name: found for found in scan_movies(folder, session)}


def test_a_plain_folder_takes_optics_from_flags_and_pixel_size_from_headers(tmp_path: Path) -> None:
    write_movie(tmp_path / "a.mrc")
    write_movie(tmp_path / "b.mrc")
    movies = scan(tmp_path, voltage=200, exposure_per_frame=1.1)
    assert list(movies) == ["a", "b"]
    movie = movies["a"].movie
    assert (movie.pixel_size, movie.optics.voltage, movie.exposure_per_frame) == (1.5, 200, 1.1)
    assert movie.optics.spherical_aberration == 2.7
    assert scan(tmp_path, pixel_size=0.9)["a"].movie.pixel_size == 0.9


def test_session_json_names_gain_defects_and_groups(tmp_path: Path) -> None:
    write_movie(tmp_path / "movies/a.mrc")
    write_movie(tmp_path / "movies/b.mrc")
    for name in ("gain.mrc", "defects.txt"):
        (tmp_path / name).write_text("")
    content = {"name": "my session/1", "movies": "movies/*.mrc", "pixel_size": 1.2, "gain": "gain.mrc", "gain_rotation": 90}
    content |= {"defects": "defects.txt", "optics_groups": {"a": "g2"}}
    (tmp_path / "session.json").write_text(json.dumps(content))
    assert read_session(tmp_path).name == "my_session_1"
    movie = scan(tmp_path)["a"].movie
    assert movie.gain is not None
    assert (movie.gain.path, movie.gain.rotation) == (tmp_path / "gain.mrc", 90)
    assert movie.defects == tmp_path / "defects.txt"
    assert movie.optics.group == "my_session_1_g2"
    assert scan(tmp_path)["b"].movie.optics.group == "my_session_1"


def test_bad_movies_are_listed_with_their_problems(tmp_path: Path) -> None:
    for name in "abc":
        write_movie(tmp_path / f"{name}.mrc")
    write_movie(tmp_path / "cut.mrc", cut=5)
    write_movie(tmp_path / "wide.mrc", width=10)
    (tmp_path / "empty.tif").write_bytes(b"")
    problems = {name: found.problem for name, found in scan(tmp_path, pixel_size=1).items()}
    assert [name for name, problem in problems.items() if problem] == ["cut", "empty", "wide"]
    assert problems["wide"] == "wide: 10 x 8 px, the session's movies are 8 x 8 px"
    assert "cut.mrc" in str(problems["cut"])


def test_movies_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    for place in ("x/a.mrc", "y/a.mrc", "y/b.mrc"):
        write_movie(tmp_path / place)
    (tmp_path / "session.json").write_text(json.dumps({"name": "s", "movies": "*/*.mrc", "pixel_size": 1}))
    assert list(scan(tmp_path)) == ["b", "x_a", "y_a"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"name": "s", "movies": "*.mrc", "exposure_per_frame": 0}, "exposure_per_frame = 0"),
        ({"name": "s", "movies": "*.mrc", "dose": 1}, "dose"),
        ({"name": "s", "movies": "../*.mrc"}, "must stay within"),
        ({"name": "s", "movies": "*.eer"}, "no movies match"),
        ({"name": "s", "movies": "*.mrc", "gain": "g.mrc"}, "g.mrc is not there"),
        ({"name": "s", "movies": "*.mrc", "optics_groups": {"z": "g"}}, "'z', which is no movie"),
        ([], "no JSON object"),
    ],
)
def test_mistakes_in_session_json_are_named(tmp_path: Path, content: object, words: str) -> None:
    write_movie(tmp_path / "a.mrc")
    (tmp_path / "session.json").write_text(json.dumps(content))
    with pytest.raises(BadInput) as caught:
        scan(tmp_path)
    assert words in str(caught.value)


def test_folders_without_movies_and_movies_without_pixel_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not a folder"):
        read_session(tmp_path / "absent")
    with pytest.raises(BadInput, match=r"no session\.json and no movies"):
        read_session(tmp_path)
    write_movie(tmp_path / "a.mrc", pixel_size=0)
    with pytest.raises(BadInput, match="--pixel-size"):
        scan(tmp_path)
