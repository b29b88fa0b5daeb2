"""Flags of `magellon simulate` are the fields of its specification."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from magellon.cli import app
from magellon.cli.dataclass_schema import read_docstrings
from magellon.errors import BadInput
from magellon.simulation.phantoms import phantom_names
from magellon.simulation.presets import PRESETS
from magellon.simulation.spec import MotionRanges, SessionSpec


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[SessionSpec]:
    """The specifications that would have been simulated."""
    specs: list[SessionSpec] = []

    def simulate(out: Path, spec: SessionSpec, progress: Any) -> Path:
        specs.append(spec)
        progress(spec.movies, spec.movies)
        return out

    monkeypatch.setattr("magellon.simulation.session.simulate_session", simulate)
    return specs


def test_without_flags_it_is_the_default(asked: list[SessionSpec]) -> None:
    assert CliRunner().invoke(app, ["simulate", "somewhere"]).exit_code == 0
    assert asked == [SessionSpec()]


def test_flags_reach_fields_and_ranges(asked: list[SessionSpec]) -> None:
    arguments = [
        "--movies",
        "3",
        "--format",
        "eer",
        "--cs",
        "1.4",
        "--exposure",
        "0.5",
        "--defocus",
        "9000,12000",
        "--net",
        "15",
    ]
    result = CliRunner().invoke(app, ["simulate", "somewhere", *arguments])
    assert result.exit_code == 0
    [spec] = asked
    assert (spec.movies, spec.format, spec.spherical_aberration, spec.exposure_per_frame) == (3, "eer", 1.4, 0.5)
    assert spec.optics.defocus == (9000.0, 12000.0)
    assert spec.motion == MotionRanges(net=(15.0, 15.0))


def test_single_values_of_a_preset_are_changed(asked: list[SessionSpec]) -> None:
    assert CliRunner().invoke(app, ["simulate", "somewhere", "--preset", "hard", "--movies", "3", "--net", "15"]).exit_code == 0
    hard = PRESETS["hard"]
    assert asked == [replace(hard, movies=3, motion=replace(hard.motion, net=(15.0, 15.0)))]


def test_an_unknown_preset_is_refused(asked: list[SessionSpec]) -> None:
    result = CliRunner().invoke(app, ["simulate", "somewhere", "--preset", "easy"])
    assert isinstance(result.exception, BadInput)
    assert "'easy': not one of typical, demo" in str(result.exception)
    assert asked == []


def test_help_shows_units_and_defaults() -> None:
    text = " ".join(CliRunner().invoke(app, ["simulate", "--help"]).stdout.replace("│", " ").split())
    assert "--pixel-size Å/px" in text
    assert "(default 1.2 Å/px)" in text


def test_help_names_every_phantom() -> None:
    described = read_docstrings(SessionSpec)["phantom"]
    assert [name for name in phantom_names() if name not in described] == []


@pytest.mark.parametrize("arguments", [["--defocus", "a"], ["--defocus", "1,2,3"]])
def test_a_range_of_another_kind_is_refused(asked: list[SessionSpec], arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["simulate", "somewhere", *arguments])
    assert isinstance(result.exception, BadInput)
    assert "--defocus" in str(result.exception)
    assert not asked


def test_docstrings_below_fields_are_found() -> None:
    assert read_docstrings(SessionSpec)["pdb"].startswith("A PDB or mmCIF file")
