"""`examples/outside_plugin` installed as an outsider would, then used through the command line and checked by its own test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from magellon.simulation.score import NO_PICKS, read_points, score_picks
from magellon.simulation.truth import read_truth

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "examples" / "outside_plugin"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> dict[str, str]:
    """An environment that sees the plugin, built and installed from a copy of its folder."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for path in PLUGIN.glob("*.*"):
        (source / path.name).write_bytes(path.read_bytes())
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(target)]
    subprocess.run([*install, str(source)], check=True, env=environment)
    return {**environment, "PYTHONPATH": str(target)}


def test_is_short() -> None:
    assert len((PLUGIN / "valley_picker.py").read_text().splitlines()) < 40


def test_is_listed_with_its_parameters(installed: dict[str, str]) -> None:
    command = ["magellon", "backends", "particle_picking/valley", "--json"]
    done = subprocess.run(command, check=True, env=installed, capture_output=True, text=True)
    [description] = json.loads(done.stdout)
    assert description["distribution"] == "magellon-valley-picker 0.1.0"
    assert description["parameters"]["properties"]["diameter"]["unit"] == "Å"


def test_picks_from_the_command_line(installed: dict[str, str], small_session: Path, tmp_path: Path) -> None:
    run = ["magellon", "run"]
    motion = [*run, "motion_correction", str(small_session), "--out", "out"]
    picking = [*run, "particle_picking/valley", "out/corrected_micrographs.star", "--threshold", "1.5", "--out", "out"]
    for command in (motion, picking):
        subprocess.run(command, check=True, env=installed, cwd=tmp_path)
    record = json.loads((tmp_path / "out" / "particle_picking.json").read_text())
    assert record["parameters"] == {"diameter": 180.0, "threshold": 1.5}
    truth = read_truth(small_session)
    picks = {movie.name: read_points(tmp_path / "out" / f"{movie.name}_autopick.star") for movie in truth.movies}
    score = sum((score_picks(movie, picks[movie.name], truth.diameter) for movie in truth.movies), NO_PICKS)
    assert score.precision > 0.5
    assert score.recall > 0.5


def test_passes_its_own_test(installed: dict[str, str], tmp_path: Path) -> None:
    test = PLUGIN / "test_valley_picker.py"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        "-c",
        "/dev/null",
        str(test),
    ]
    subprocess.run(command, check=True, env=installed, cwd=tmp_path)
