"""Parameters are checked from a JSON schema alone, and mistakes name the parameter, the value and the limit."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from magellon.backends.describe import describe_backend
from magellon.contracts import FFT, Backend, Context, FftInput, FftOutput, Params, Record
from magellon.contracts.description import Description
from magellon.errors import BadInput
from magellon.platform.pipeline.parameters import fill_parameters
from magellon.units import Angstrom, Pixel


class Window(Record):
    low: Angstrom = 30.0
    high: Annotated[Angstrom, Field(gt=0)] = 5.0


class ManyParams(Params):
    box: Annotated[Pixel, Field(ge=16, le=1024, multiple_of=2)] = 512
    diameter: Annotated[Angstrom, Field(gt=0)] | None = None
    mode: Literal["fast", "exact"] = "fast"
    window: Window = Window()
    templates: tuple[Path, ...] = ()
    weights: dict[str, float] = Field(default_factory=lambda: {"a": 1})
    flag: bool = False
    name: Annotated[str, Field(pattern="^[a-z]+$")] = "x"


class Many(Backend[FftInput, ManyParams, FftOutput]):
    """Has parameters of every kind."""

    contract, name, Params = FFT, "many", ManyParams

    def run(self, input: FftInput, params: ManyParams, context: Context) -> FftOutput:
        raise NotImplementedError


@pytest.fixture(scope="module")
def many() -> Description:
    return describe_backend(Many)


def test_defaults_are_written_out_and_are_what_the_class_says(many: Description) -> None:
    filled = fill_parameters(many, {})
    assert ManyParams.model_validate(filled) == ManyParams()
    assert filled["window"] == {"low": 30.0, "high": 5.0}
    assert filled["weights"] == {"a": 1.0}


def test_equal_values_have_one_form(many: Description) -> None:
    assert fill_parameters(many, {"diameter": 180, "box": 256.0}) == fill_parameters(many, {"diameter": 180.0, "box": 256})
    assert type(fill_parameters(many, {"diameter": 180})["diameter"]) is float


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"box": 8}, "step.box = 8 px: must be at least 16 px"),
        ({"box": 2048}, "at most 1024 px"),
        ({"box": 101}, "a multiple of 2"),
        ({"box": 20.5}, "whole number"),
        ({"box": True}, "whole number"),
        ({"diameter": -3}, "step.diameter = -3 Å: must be above 0 Å"),
        ({"diameter": "big"}, "must be a number (Å)"),
        ({"diameter": float("nan")}, "must be a number"),
        ({"mode": "slow"}, "one of 'fast', 'exact'"),
        ({"window": {"high": 0}}, "step.window.high = 0 Å: must be above 0 Å"),
        ({"window": {"hihg": 1}}, "step.window.hihg: no such parameter"),
        ({"flag": 1}, "true or false"),
        ({"name": "X1"}, "must match"),
        ({"speed": 1}, "step.speed: fft/many has no such parameter (it has box, "),
    ],
)
def test_mistakes_name_parameter_value_and_limit(many: Description, given: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        fill_parameters(many, given, "step")
    assert words in str(caught.value)


def test_files_are_visited_and_one_stands_for_a_list(many: Description) -> None:
    filled = fill_parameters(many, {"templates": "a.mrc"}, visit_path=lambda path: f"home:{path}")
    assert filled["templates"] == ["home:a.mrc"]


def test_a_partly_given_table_is_completed(many: Description) -> None:
    assert fill_parameters(many, {"window": {"low": 20}})["window"] == {"low": 20.0, "high": 5.0}
