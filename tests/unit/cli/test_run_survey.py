"""The diameter is proposed once for all micrographs of a call, where nobody says it."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from magellon.cli.run import survey
from magellon.cli.run.inputs import Item
from magellon.cli.run.request import Request
from magellon.contracts import Micrograph, PickingInput
from magellon.contracts.description import Description
from magellon.errors import BadInput
from magellon.platform.worker.requests import Done, TaskFailure


@dataclass
class FakeChild:
    """Proposes 150 Å from micrographs that are not bad."""

    bad: str = "none"
    confidence: float = 1.0
    threads: int = 1
    samples: list[list[str]] = field(default_factory=list)

    async def run(self, task: Any) -> Done:
        names = [each["micrograph"]["name"] for each in task.input["items"]]
        self.samples.append(names)
        if self.bad in names:
            raise TaskFailure("bad_input", f"/data/{self.bad}.mrc: holds NaN")
        (Path(task.workdir) / "particle_survey.png").write_text("picture")
        return Done({"diameter": 150.0, "confidence": self.confidence, "picture": "particle_survey.png"}, "cpu", 0.1)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    description = Description(category="particle_survey", name="any")
    monkeypatch.setattr(survey, "read_descriptions", lambda only: [description])


def make_items(count: int) -> list[Item]:
    names = [f"m{number:02d}" for number in reversed(range(count))]
    micrographs = [Micrograph(name=name, path=Path(f"/data/{name}.mrc"), pixel_size=1, shape=(8, 8)) for name in names]
    return [Item(each.name, PickingInput(micrograph=each), micrograph=each) for each in micrographs]


def run_survey(
    child: FakeChild, out: Path, params: dict[str, Any], count: int = 12, ignores: tuple[str, ...] = ()
) -> list[Any]:
    request = Request("particle_picking", "dog", 1, (), out, params=params, ignores=ignores)
    items = asyncio.run(survey.survey_items(child, make_items(count), request))  # type: ignore[arg-type]
    return [item.input.diameter for item in items if isinstance(item.input, PickingInput)]


def test_the_first_micrographs_by_name_are_surveyed(tmp_path: Path) -> None:
    child = FakeChild()
    assert run_survey(child, tmp_path, {"diameter": None}) == [150.0] * 12
    assert child.samples == [[f"m{number:02d}" for number in range(8)]]
    assert (tmp_path / "particle_survey.png").exists()


@pytest.mark.parametrize(
    ("params", "ignores"), [({"diameter": 120.0}, ()), ({"diameter": None}, ("diameter",))], ids=["given", "ignored"]
)
def test_nothing_is_surveyed_that_is_not_asked(tmp_path: Path, params: dict[str, Any], ignores: tuple[str, ...]) -> None:
    child = FakeChild()
    assert run_survey(child, tmp_path, params, ignores=ignores) == [None] * 12
    assert child.samples == []


@pytest.mark.parametrize(("confidence", "warned"), [(0.9, False), (0.2, True)])
def test_a_diameter_that_cannot_be_trusted_is_warned_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], confidence: float, warned: bool
) -> None:
    run_survey(FakeChild(confidence=confidence), tmp_path, {"diameter": None})
    assert ("confidence 0.20" in capsys.readouterr().err) == warned


def test_a_micrograph_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    child = FakeChild(bad="m03")
    assert run_survey(child, tmp_path, {"diameter": None}) == [150.0] * 12
    assert "m03" not in child.samples[-1]
    assert len(child.samples[-1]) == 8


def test_without_any_that_can_be_read_the_flag_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="say it with --diameter"):
        run_survey(FakeChild(bad="m00"), tmp_path, {"diameter": None}, count=1)
