"""Schemas become flags: units, limits, choices and defaults are said once, in the backend's types."""

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from magellon.cli.run.options import collect_params, make_signature_parameter, python_name, read_parameters
from magellon.contracts import Params
from magellon.errors import BadInput
from magellon.units import Angstrom, Pixel


class Everything(Params):
    diameter: Annotated[Angstrom, Field(gt=0, le=2000)] | None = None
    """Of the particle."""
    box_size: Annotated[Pixel, Field(ge=8, multiple_of=2)] = 64
    """Side of the box."""
    edge: Literal["pad", "leave_out"] = "pad"
    """What to do at edges."""
    rotation: Literal[0, 90] = 0
    """Counter-clockwise."""
    invert: bool = True
    """Make particles bright [as RELION does]."""
    templates: tuple[Path, ...] = ()
    """Class averages."""
    range: tuple[Angstrom, Angstrom] = (30.0, 5.0)
    """Lowest and highest resolution."""


@pytest.fixture(scope="module")
def parameters() -> dict[str, Any]:
    return {each.name: each for each in read_parameters(Everything.model_json_schema())}


def test_reads_units_limits_and_descriptions(parameters: dict[str, Any]) -> None:
    diameter = parameters["diameter"]
    assert (diameter.kind, diameter.unit, diameter.limits) == ("number", "Å", "above 0, at most 2000")
    assert diameter.description == "Of the particle."
    assert diameter.optional
    assert diameter.flag == "--diameter"


def test_says_defaults_with_their_unit(parameters: dict[str, Any]) -> None:
    texts = {name: each.default_text for name, each in parameters.items()}
    assert texts["box_size"] == "64 px"
    assert texts["invert"] == "yes"
    assert texts["diameter"] == "none"
    assert texts["range"] == "30.0,5.0 Å"


def test_keeps_the_authors_order(parameters: dict[str, Any]) -> None:
    assert list(parameters) == list(Everything.model_fields)


def invoke(*arguments: str) -> tuple[int, dict[str, Any], str]:
    """Run a command made of the flags; its exit status, what it collected, and what it printed."""
    parameters = read_parameters(Everything.model_json_schema())
    collected: dict[str, Any] = {}

    def command(**values: Any) -> None:
        collected.update(collect_params(parameters, values))

    command.__signature__ = inspect.Signature([make_signature_parameter(each, each.flag) for each in parameters])  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False)
    app.command()(command)
    result = CliRunner().invoke(app, arguments)
    if isinstance(result.exception, BadInput):
        raise result.exception
    return result.exit_code, collected, result.output


def test_only_what_is_given_reaches_the_backend() -> None:
    assert invoke() == (0, {}, "")


def test_values_become_what_the_backend_validates(tmp_path: Path) -> None:
    first, second = tmp_path / "a.mrc", tmp_path / "b.mrc"
    first.touch()
    second.touch()
    _, collected, _ = invoke(
        "--diameter", "120", "--box-size", "96", "--edge", "leave_out", "--rotation", "90", "--invert", "no",
        "--templates", f"{first},{second}", "--range", "40,4.5",
    )  # fmt: skip
    params = Everything.model_validate(collected)
    assert params == Everything(
        diameter=120, box_size=96, edge="leave_out", rotation=90, invert=False, templates=(first, second), range=(40, 4.5)
    )


def test_help_shows_units_defaults_and_limits() -> None:
    status, _, output = invoke("--help")
    text = " ".join(output.replace("│", " ").split())
    assert status == 0
    assert "--box-size px Side of the box. (default 64 px; at least 8)" in text
    assert "[as RELION does]" in text


def test_a_missing_file_is_named() -> None:
    with pytest.raises(BadInput, match=r"--templates: nowhere\.mrc does not exist"):
        invoke("--templates", "nowhere.mrc")


def test_a_word_that_is_neither_yes_nor_no_is_refused() -> None:
    with pytest.raises(BadInput, match="--invert is yes or no, not 'maybe'"):
        invoke("--invert", "maybe")


def test_a_choice_that_does_not_exist_is_refused() -> None:
    assert invoke("--edge", "fold")[0] == 2


def test_names_cannot_collide_with_the_commands_own() -> None:
    assert python_name("out") == "param_out"
