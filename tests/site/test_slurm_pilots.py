"""Pilots in a real SLURM: as many as there is work for, replaced before their time is over, gone when the work is done."""

import asyncio
import time
from pathlib import Path

import pytest
from authority import Authority
from batch import Slurm
from engine import assert_no_debris, count_executions, promoted
from processing import TASKS, Watching, make_submission, process
from servers import Place, make_server

from magellon.platform.bus.access import find_bus
from magellon.platform.launch.local import Site
from magellon.platform.launch.slurm import SlurmPlan
from magellon.platform.store.home import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

VARIABLES = ("PATH", "HOME", "LANG", "MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY")


def test_a_session_is_processed_by_pilots(
    tmp_path: Path, session: Path, authority: Authority, slurm: Slurm, fake_backends: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", slurm.configuration)
    monkeypatch.delenv("MAGELLON_NATS_TOKEN", raising=False)
    (tmp_path / "nats").mkdir()
    server = make_server(Place(tmp_path / "nats"), authority, 'authorization { token: "a-long-token" }')
    token = tmp_path / "token"
    token.write_text("a-long-token")
    token.chmod(0o600)
    bus = find_bus(f"tls://127.0.0.1:{server.port}", authority.file, token)
    plan = SlurmPlan(most=3, minutes=2, cpus=2, idle=4, interval=1, variables=VARIABLES, margin=60)
    plan = plan.model_copy(update={"margin": 105.0})  # each lives 15 s, so that a short test sees successors
    home = Home.at(tmp_path / "home")
    most = [0]

    def look(count: int) -> None:
        most[0] = max(most[0], list(slurm.list_jobs().values()).count("RUNNING"))

    def wait_until_gone() -> None:
        deadline = time.monotonic() + 60
        while {"RUNNING", "PENDING", "COMPLETING"} & set(slurm.list_jobs().values()) and time.monotonic() < deadline:
            time.sleep(0.5)

    server.start()
    try:
        submission = make_submission(session, seconds=2.5)
        summary = asyncio.run(
            process(home, submission, Site(bus=bus, slurm=plan), Watching(look, wait_until_gone), local=False)
        )
    finally:
        server.kill()
    assert summary.ok
    assert len(promoted(home.root)) == TASKS
    assert_no_debris(home.root)
    assert set(count_executions(fake_backends).values()) == {1}, "a draining pilot finishes what it is at"
    assert most[0] == 3, "as many at a time as allowed while there is much to do"
    jobs = slurm.list_jobs()
    assert len(jobs) > 3, "those that grew old had successors"
    begun = {job: state for job, state in jobs.items() if (home.root / "workers" / f"pilot-{job}.log").exists()}
    assert set(begun.values()) == {"COMPLETED"}, "they left by themselves, none ran into its time limit"
    assert {state for job, state in jobs.items() if job not in begun} <= {"CANCELLED"}, "given up before they began"
    logs = [path.read_text() for path in (home.root / "workers").glob("pilot-*.log")]
    assert sum("15 s old: takes no more tasks" in text for text in logs) >= 3
    assert any("4 s without a task" in text for text in logs)
    assert "a-long-token" not in "".join(logs)
