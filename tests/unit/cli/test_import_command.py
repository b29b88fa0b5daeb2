"""`magellon import`: what is shown of a session, and what is said when no server takes it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from magellon.cli import app
from magellon.cli.importing.table import describe_session, print_session
from magellon.contracts import GridImage
from magellon.errors import BadInput
from magellon.platform.sessions.grid_images import FoundImage
from magellon.platform.sessions.importing import import_session
from session_files import make_epu, make_serialem, write_movie


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["import", *map(str, arguments)], env={"COLUMNS": "160"}, catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_shows_movies_exposures_groups_gain_places_and_problems(tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "grid", 4)
    next(folder.rglob("*.xml")).write_text("<MicroscopeImage>")
    text = run(folder, "--dry-run")
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "epu: " in lines["source"]
    assert "4, 1 without metadata" in lines["movies"]
    assert "10 e/Å²" in lines["exposure per frame"]
    assert "40 e/Å²" in lines["exposure per movie"]
    assert "1 square, 2 holes, 4 exposures" in lines["places"]
    assert "gain" in lines
    assert "damaged XML" in text


def test_where_no_movie_can_be_used_the_rest_is_still_said(tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "grid", 2, pixel=0)
    text = run(folder, "--dry-run")
    assert "2, 2 with problems" in text
    assert not any(line.startswith("voltage") for line in text.splitlines())
    assert "give --pixel-size" in text


def test_says_the_same_to_programs(tmp_path: Path) -> None:
    said = json.loads(run(make_serialem(tmp_path / "s", 4), "--dry-run", "--json"))
    assert (said["source"], said["movies"], said["described"]) == ("serialem", 4, 4)
    assert said["exposure"] == {"least": 40, "median": 40, "most": 40, "unknown": 0}
    assert said["optics_groups"] == {"s_1": 2, "s_2": 2}
    assert said["places"] == {"atlas": 0, "square": 0, "hole": 1, "exposure": 4}
    assert said["gains"] == [str(tmp_path / "s" / "CountRef_1.mrc")]


def test_pictures_of_the_grid_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = import_session(make_epu(tmp_path / "grid", 2), None)
    kinds = ("square", "atlas", "square")
    images = [
        FoundImage(kind, GridImage(name=f"p{number}", path=tmp_path / "p.png"), f"p{number}")
        for number, kind in enumerate(kinds)
    ]
    print_session(replace(found, images=images))
    assert "of 2 squares, 1 atlas" in capsys.readouterr().out
    assert describe_session(replace(found, images=images))["images"] == {"square": 2, "atlas": 1}


def test_flags_win_and_a_plain_folder_needs_them(tmp_path: Path) -> None:
    write_movie(tmp_path / "a.mrc")
    said = json.loads(run(tmp_path, "--dry-run", "--json", "--pixel-size", "1.5", "--exposure", "2"))
    assert (said["source"], said["pixel_sizes"]) == ("plain", {"1.5": 1})
    assert said["exposure_per_frame"]["median"] == 2
    assert said["exposure"]["median"] == 2 * 4


def test_without_a_server_it_says_how_to_start_one(tmp_path: Path) -> None:
    folder = make_epu(tmp_path / "grid", 2)
    with pytest.raises(BadInput, match="magellon up --home"):
        run(folder, "--home", tmp_path / "home")
