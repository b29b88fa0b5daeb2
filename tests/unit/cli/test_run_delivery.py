"""What `magellon run` leaves in its folder: outputs, links, the record."""

import json
from pathlib import Path

import pytest

from magellon.cli.run.delivery import write_record
from magellon.cli.run.execution import Failed, Finished, Outcome, deliver, fill_cores, read_warnings
from magellon.cli.run.inputs import Item
from magellon.cli.run.request import Request
from magellon.contracts import FftInput, FftOutput, Micrograph
from magellon.platform.worker.requests import Done


def make_item(name: str) -> Item:
    micrograph = Micrograph(name=name, path=Path(f"/data/{name}.mrc"), pixel_size=1.2, shape=(8, 8))
    return Item(name, FftInput(micrograph=micrograph), micrograph=micrograph)


def test_cores_are_filled_with_files_first_and_threads_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert (fill_cores(100, None, None).children, fill_cores(100, None, None).threads) == (8, 1)
    assert (fill_cores(2, None, None).children, fill_cores(2, None, None).threads) == (2, 4)
    assert (fill_cores(1, None, None).children, fill_cores(1, None, None).threads) == (1, 8)
    assert (fill_cores(100, 3, None).children, fill_cores(100, 3, None).threads) == (3, 2)
    assert (fill_cores(100, None, 4).children, fill_cores(100, None, 4).threads) == (2, 4)


def test_outputs_move_into_the_folder_and_replace_earlier_ones(tmp_path: Path) -> None:
    workdir, out = tmp_path / "work", tmp_path / "out"
    workdir.mkdir()
    out.mkdir()
    (workdir / "a_fft.png").write_text("new")
    (out / "a_fft.png").write_text("old")
    request = Request("fft", "fft", 1, (), out)
    record = deliver(Done({"picture": "a_fft.png"}, "cpu", 0.1), request, workdir)
    assert record == FftOutput(picture=out / "a_fft.png")
    assert (out / "a_fft.png").read_text() == "new"
    assert not list(workdir.iterdir())


def test_the_record_names_parameters_results_and_failures_without_folders(tmp_path: Path) -> None:
    request = Request("fft", "fft", 2, (), tmp_path, params={"size": 512, "mask": "/data/mask.mrc"})
    outcomes: list[Outcome] = [
        Finished(make_item("a"), FftOutput(picture=tmp_path / "a_fft.png")),
        Failed("b", "bad_input", "b.mrc: is empty"),
    ]
    record = json.loads(write_record(outcomes, request).read_text())
    assert record == {
        "category": "fft",
        "backend": "fft",
        "version": 2,
        "parameters": {"size": 512, "mask": "mask.mrc"},
        "items": {"a": {"picture": "a_fft.png"}},
        "failed": {"b": {"kind": "bad_input", "reason": "b.mrc: is empty"}},
    }


def test_a_run_of_which_nothing_came_leaves_the_record_of_what_lies_there(tmp_path: Path) -> None:
    request = Request("fft", "fft", 2, (), tmp_path)
    fine: list[Outcome] = [Finished(make_item("a"), FftOutput(picture=tmp_path / "a_fft.png"))]
    failed: list[Outcome] = [Failed("a", "bad_input", "a.mrc: is empty")]
    for _ in range(2):
        assert write_record(failed, request) == tmp_path / "fft.json", "there are no results to keep the record of"
    earlier = write_record(fine, request).read_text()
    assert write_record(failed, request) == tmp_path / "fft_failed.json"
    assert (tmp_path / "fft.json").read_text() == earlier
    assert json.loads((tmp_path / "fft_failed.json").read_text())["failed"]["a"]["reason"] == "a.mrc: is empty"
    write_record(fine, request)
    assert [each.name for each in tmp_path.iterdir()] == ["fft.json"], "nothing failed any more"


def test_warnings_of_a_task_are_kept_with_its_result(tmp_path: Path) -> None:
    log = tmp_path / "0.log"
    assert read_warnings(log) == ()
    log.write_text("2026-01-01 10:00:00,000 INFO fine\n2026-01-01 10:00:01,000 WARNING a b: c\ntraceback\n")
    assert read_warnings(log) == ("a b: c",)
    request = Request("fft", "fft", 2, (), tmp_path)
    outcomes: list[Outcome] = [Finished(make_item("a"), FftOutput(picture=tmp_path / "a_fft.png"), ("a b: c",))]
    assert json.loads(write_record(outcomes, request).read_text())["warnings"] == {"a": ["a b: c"]}
