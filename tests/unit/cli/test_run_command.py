"""The whole command, once, on two images; the rest of `magellon run` is tested piece by piece."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from typer.testing import CliRunner

from magellon.cli import app
from magellon.cli.run.execution import Failed
from magellon.cli.run.inputs import categories
from magellon.cli.run.reporting import RunWatch
from magellon.cli.run.request import Request
from magellon.contracts import CONTRACTS
from magellon.errors import BadInput
from magellon.io.mrc import write_mrc


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    write_mrc(tmp_path / "good.mrc", rng.normal(size=(256, 256)).astype(np.float32), 1.5)
    write_mrc(tmp_path / "bad.mrc", np.full((256, 256), np.nan, np.float32), 1.5)
    (tmp_path / "cut.mrc").write_bytes((tmp_path / "good.mrc").read_bytes()[:700])
    return tmp_path


@pytest.mark.slow
def test_a_file_that_fails_is_named_and_stops_no_other(images: Path) -> None:
    out = images / "out"
    files = [str(images / name) for name in ("cut.mrc", "bad.mrc", "good.mrc")]
    result = CliRunner().invoke(app, ["run", "fft", *files, "--out", str(out)])
    assert result.exit_code == 1
    assert "1 of 3 done" in result.stdout
    assert "bad: failed:" in result.stderr
    assert "cut: failed:" in result.stderr
    assert (out / "good_fft.png").exists()
    record = json.loads((out / "fft.json").read_text())
    assert list(record["items"]) == ["good"]
    assert "bad.mrc" in record["failed"]["bad"]["reason"]
    assert "cut.mrc" in record["failed"]["cut"]["reason"]
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]


def test_help_of_a_step_shows_its_backends_parameters() -> None:
    result = CliRunner().invoke(app, ["run", "ctf_estimation", "--help"])
    text = " ".join(result.stdout.replace("│", " ").split())
    assert result.exit_code == 0
    assert "--max-defocus Å Underfocus at which the search ends." in text
    assert "--pixel-size Å/px" in text


def test_without_a_category_it_lists_what_can_be_run() -> None:
    result = CliRunner().invoke(app, ["run", "--help"])
    assert result.exit_code == 0
    assert "particle_picking/dog" in result.stdout
    for each in ("particle_survey", "preview", "session_star"):
        assert each not in result.stdout


@pytest.mark.parametrize("category", categories())
def test_help_says_which_files_and_cuts_no_name_short(category: str) -> None:
    text = CliRunner().invoke(app, ["run", category, "--help"]).stdout
    assert "…" not in text
    files = " ".join(text.replace("│", " ").split()).partition("FILES <list[Path]> ")[2]
    kind = {"motion_correction": "Movies", "two_d_classification": "STAR files", "square_detection": "Pictures"}
    assert files.startswith(kind.get(category, "Pictures" if category == "hole_detection" else "Micrographs"))


@pytest.mark.parametrize("word", ["gpu", "cuda:x", "CPU"])
def test_a_device_that_is_none_is_refused(images: Path, word: str) -> None:
    result = CliRunner().invoke(app, ["run", "fft", str(images / "good.mrc"), "--out", str(images / "o"), "--device", word])
    assert result.exit_code == 2
    assert "is not auto, cpu, cuda or cuda:N" in " ".join(result.output.replace("│", " ").split())


def test_the_bar_moves_within_an_item_and_logs_are_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[tuple[float, str]] = []
    request = cast(Request, SimpleNamespace(category="fft"))
    watch = RunWatch(request, True, lambda done, note: shown.append((done, note)))
    watch.see_end(Failed("x", "bad_input", "no"))
    watch.see_progress("a", 0.25, "round 3 of 25")
    watch.see_progress("b", 0.5, "round 1 of 25")
    watch.see_log("a", "the largest with 12 %")
    assert shown == [(1.0, "1 failed"), (1.25, "1 failed, round 3 of 25"), (1.75, "1 failed")]
    assert "a: the largest with 12 %" in capsys.readouterr().err


def test_backends_are_listed_in_pipeline_order() -> None:
    result = CliRunner().invoke(app, ["backends", "--json"])
    order = list(CONTRACTS)
    places = [order.index(each["category"]) for each in json.loads(result.stdout) if each["category"] in order]
    assert len(set(places)) == len(order)
    assert places == sorted(places)


def test_an_unknown_category_is_refused_with_those_there_are() -> None:
    result = CliRunner().invoke(app, ["run", "particle_piking", "x.mrc", "--out", "y"])
    assert isinstance(result.exception, BadInput)
    assert "particle_picking" in str(result.exception)


def test_a_parameter_out_of_its_limits_is_refused_before_anything_runs(images: Path) -> None:
    arguments = ["run", "ctf_estimation", str(images / "good.mrc"), "--out", str(images / "out"), "--max-defocus", "1"]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, BadInput)
    assert "max_defocus = 1.0 Å: must be at least 500" in str(result.exception)
    assert not (images / "out").exists()


def test_an_output_folder_that_is_a_file_is_said(images: Path) -> None:
    (images / "out").write_text("a file")
    result = CliRunner().invoke(app, ["run", "fft", str(images / "good.mrc"), "--out", str(images / "out")])
    assert isinstance(result.exception, BadInput)
    assert "out: is a file, where a folder is wanted" in str(result.exception)
