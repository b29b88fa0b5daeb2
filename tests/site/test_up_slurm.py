"""`magellon up --launcher slurm` in a real SLURM that believes it has GPUs: from no pilot to as many as allowed and back."""

import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from authority import Authority
from batch import Slurm
from engine import assert_no_debris, count_executions, promoted
from fake_session import ITEM_STEPS, RECIPE, make_session
from servers import Place, make_server
from web_server import Web, run_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PILOTS, IDLE, AGE = 3, 4, 60
"""A pilot takes no more tasks after 60 s, the half of the shortest time limit there is."""
MOVIES = {f"m{number:02d}": f"movie {number}" for number in range(12)}
TASKS = len(MOVIES) * len(ITEM_STEPS) + 2
VARIABLES = ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY")


@contextmanager
def run_site(folder: Path, authority: Authority, data: Path) -> Iterator[Web]:
    """NATS with TLS and a token, and the server that asks for pilots."""
    (folder / "nats").mkdir()
    bus = make_server(Place(folder / "nats"), authority, 'authorization { token: "a-long-token" }')
    token = folder / "token"
    token.write_text("a-long-token")
    token.chmod(0o600)
    words = ["--nats", f"tls://127.0.0.1:{bus.port}", "--nats-ca", str(authority.file), "--nats-credentials", str(token)]
    words += ["--launcher", "slurm", "--slurm-pilots", str(PILOTS), "--slurm-cpus", "2", "--slurm-gpus", "1"]
    words += ["--slurm-minutes", "2", "--slurm-margin", str(120 - AGE), "--slurm-idle", str(IDLE), "--slurm-partition", "test"]
    for name in VARIABLES:
        words += ["--slurm-variable", name]
    bus.start()
    try:
        with run_server(folder / "home", "--data", str(data), *words) as web:
            yield web
    finally:
        bus.kill()


def submit(web: Web, session: Path, seconds: float) -> str:
    """Where its job is."""
    recipe = tomllib.loads(RECIPE)
    for step in (*ITEM_STEPS, "particle_survey"):
        recipe["steps"][step]["params"] = {"seconds": seconds}
    return f"/jobs/{web.post('/sessions', {'folder': str(session), 'recipe': recipe})['id']}"


def is_settled(job: dict[str, list[dict[str, int]]]) -> bool:
    return all(step["pending"] + step["running"] + step["outdated"] == 0 for step in job["steps"])


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


def list_devices() -> dict[str, str]:
    """By batch job: the GPU that SLURM gave its worker."""
    found = {}
    for process in psutil.process_iter():
        try:
            variables = process.environ() if "magellon.backends.child" in process.cmdline() else {}
        except psutil.Error:
            continue
        if "SLURM_JOB_ID" in variables:
            found[variables["SLURM_JOB_ID"]] = variables.get("CUDA_VISIBLE_DEVICES", "none")
    return found


def test_pilots_come_with_the_work_and_go_with_it(
    tmp_path: Path, authority: Authority, slurm: Slurm, fake_backends: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", slurm.configuration)
    monkeypatch.delenv("MAGELLON_NATS_TOKEN", raising=False)
    few = make_session(tmp_path / "few", {"only": "one movie"}, "few")
    many = make_session(tmp_path / "many", MOVIES, "many")
    with run_site(tmp_path, authority, tmp_path) as web:
        job = submit(web, few, 0.1)
        web.wait(job, is_settled)
        assert 1 <= len(slurm.list_jobs()) <= 2, "few tasks, few pilots"
        wait_until(lambda: not slurm.list_running(), "a pilot without work stays")

        job = submit(web, many, 3.5)
        wait_until(lambda: len(slurm.list_running()) == PILOTS, "much work, and not as many pilots as allowed")
        wait_until(lambda: len(list_devices()) == PILOTS, "pilots that do not compute")
        devices = list_devices()
        assert sorted(devices.values()) == ["0", "1", "2"], "each pilot has a GPU of its own"
        assert f"magellon_worker_slots {PILOTS}\n" in web.client.get("/metrics").text, "one task for each GPU"
        web.wait(job, is_settled)
        tasks = web.get("/tasks", job=job.rpartition("/")[2], state="completed")["items"]
        assert web.get(f"/tasks/{tasks[0]['id']}")["provenance"]["device"] == "cuda"
        wait_until(lambda: not slurm.list_running(), "pilots stay when the work is done")

        for begun, times in count_executions(fake_backends).items():
            once = 2 if begun.endswith(" session") else 1  # the steps that gather, once in each of the two sessions
            assert times == once, f"{begun}: a draining pilot finishes what it is at"
        submit(web, many, 9.0)
        wait_until(lambda: bool(slurm.list_running()), "no pilot comes for new work")
        _check_books(slurm, web.home)
    wait_until(lambda: not slurm.list_running(), "pilots outlive their server")
    assert len(promoted(web.home)) >= TASKS + 7
    assert_no_debris(web.home)


def _check_books(slurm: Slurm, home: Path) -> None:
    """What SLURM and the pilots wrote down."""
    jobs = slurm.describe_jobs()
    assert {fields["TimeLimit"] for fields in jobs.values()} == {"00:02:00"}
    assert all("gpu:1" in fields["TresPerNode"] and fields["CPUs/Task"] == "2" for fields in jobs.values())
    logs = {path.stem.partition("-")[2]: path.read_text() for path in (home / "workers").glob("pilot-*.log")}
    ended = {job: fields["JobState"] for job, fields in jobs.items() if job in logs and fields["JobState"] != "RUNNING"}
    assert set(ended.values()) == {"COMPLETED"}, "they left by themselves, none ran into its time limit"
    drained = [job for job, text in logs.items() if f"{AGE} s old: takes no more tasks" in text]
    assert len(drained) >= 1, "old pilots drain"
    assert len(jobs) > PILOTS + len(drained), "and have successors"
    assert any(f"{IDLE} s without a task" in text for text in logs.values())
    assert "a-long-token" not in "".join(logs.values())
