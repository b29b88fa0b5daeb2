"""`magellon up`: a simulated session over HTTP from its folder to its pictures, followed, changed, tried again, cancelled."""

from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest
from web_server import Listener, Web, run_server

from magellon.simulation.session import simulate_session
from magellon.simulation.spec import SessionSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
SETTINGS = ["particle_picking.diameter=194", "filter.max_resolution=none", "filter.max_astigmatism=none"]
MOVIES = 3


def _is_settled(job: Any) -> bool:
    return all(step["pending"] + step["running"] + step["outdated"] == 0 for step in job["steps"])


def _counts(job: Any) -> dict[str, dict[str, int]]:
    return {step["step"]: step for step in job["steps"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = simulate_session(tmp_path_factory.mktemp("simulated") / "lot", SessionSpec(movies=MOVIES, size=512, frames=6))
    (folder / "movies" / "broken.tiff").write_bytes(b"II*\0")
    return folder


def test_a_session_over_http(tmp_path: Path, folder: Path) -> None:
    with run_server(tmp_path / "home", "--workers", "2", "--data", str(folder.parent)) as web:
        listener = Listener(web)
        listener.start()
        job = web.post("/sessions", {"folder": str(folder), "settings": SETTINGS})
        path = f"/jobs/{job['id']}"
        job = web.wait(path, _is_settled)
        done = _counts(job)
        assert {done[step]["completed"] for step in ("motion_correction", "ctf_estimation", "particle_picking")} == {MOVIES}
        assert done["motion_correction"]["failed"] == 1
        _look_at_results(web, job["session"])
        _change_a_threshold(web, job)
        _retry_and_cancel(web, job)
        _compare_events(web, listener, job)
        _hide_token(web)
    with run_server(tmp_path / "home", "--workers", "0", "--data", str(folder.parent)) as web:
        assert _is_settled(web.get(path)), "everything is still there"


def _look_at_results(web: Web, session: int) -> None:
    found = web.get(f"/sessions/{session}/micrographs", sort="-defocus")["items"]
    values = [each["metrics"]["defocus"] for each in found[:MOVIES]]
    assert values == sorted(values, reverse=True)
    assert found[-1]["problem"]
    assert web.get(f"/sessions/{session}/histograms", metric="total_motion")["items"][0]["number"] == MOVIES
    task = web.get(f"/tasks/{found[0]['steps']['ctf_estimation']['task']}")
    assert (task["backend"], task["provenance"]["threads"]) == ("ctf", 1)
    assert task["outputs"]["ctf"]["defocus_u"] > 0
    assert "Log-Next" in web.client.get(f"/tasks/{task['id']}/log").headers
    pictures = [each for each in web.get(f"/tasks/{task['id']}/files")["files"] if each["type"] == "image/png"]
    picture = web.client.get(f"/tasks/{task['id']}/files/{pictures[0]['name']}")
    assert picture.content.startswith(b"\x89PNG")
    assert "rlnImageName" in web.client.get(f"/sessions/{session}/files/particles.star").text
    tiles = f"/micrographs/{found[0]['id']}/tiles"
    assert web.client.get(tiles).status_code in (200, 202)
    pyramid = _wait_for_tiles(web, tiles)
    assert (pyramid["width"], pyramid["levels"]) == (512, 1)
    assert web.client.get(f"{tiles}/0/0/0").content.startswith(b"\xff\xd8")


def _wait_for_tiles(web: Web, path: str) -> Any:
    import time

    deadline = time.monotonic() + 60
    while (answer := web.client.get(path)).status_code == 202:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return answer.json()


def _change_a_threshold(web: Web, job: Any) -> None:
    """Only what lies below the filter changes, and what was computed is taken up again."""
    path = f"/jobs/{job['id']}"
    before = {each["id"]: each["attempt"] for each in web.get("/tasks", job=job["id"])["items"]}
    web.post(f"{path}/recipe", {"settings": ["filter.min_score=0.999"]})
    held = web.wait(path, _is_settled)
    assert _counts(held)["particle_picking"]["held"] >= MOVIES
    assert _counts(held)["ctf_estimation"]["completed"] == MOVIES
    assert web.get(f"/sessions/{job['session']}/micrographs", **{"picks.min": 0})["items"] == []
    web.post(f"{path}/recipe", {"settings": ["filter.min_score=none"]})
    again = _counts(web.wait(path, _is_settled))
    assert again["particle_extraction"]["completed"] == MOVIES
    after = {each["id"]: each["attempt"] for each in web.get("/tasks", job=job["id"])["items"] if each["micrograph"]}
    assert all(before[number] == attempt for number, attempt in after.items() if number in before), "nothing was computed twice"
    assert len(web.get(f"/sessions/{job['session']}/micrographs", **{"picks.min": 0})["items"]) == MOVIES


def _retry_and_cancel(web: Web, job: Any) -> None:
    path = f"/jobs/{job['id']}"
    (failed,) = web.get("/tasks", job=job["id"], state="failed")["items"]
    assert failed["kind"] == "bad_input"
    web.post(f"/tasks/{failed['id']}/retry")
    web.wait(path, _is_settled)
    assert web.get(f"/tasks/{failed['id']}")["state"] == "failed", "it is as broken as before"
    web.post(f"{path}/pause")
    web.post(f"{path}/recipe", {"settings": ["fft.size=256"]})
    waiting = web.get("/tasks", job=job["id"], state="outdated")["items"]
    of_movies = [each for each in waiting if each["micrograph"]]
    assert Counter(each["step"] for each in of_movies) == {"fft": MOVIES}
    web.post(f"/tasks/{of_movies[0]['id']}/cancel")
    assert web.get(f"/tasks/{of_movies[0]['id']}")["state"] == "cancelled"
    assert web.post(f"{path}/cancel")["tasks"] >= MOVIES - 1
    web.post(f"{path}/resume")
    assert web.post(f"{path}/retry-failed?cancelled=true")["tasks"] >= MOVIES
    assert _counts(web.wait(path, _is_settled))["fft"]["completed"] == MOVIES


def _compare_events(web: Web, listener: Listener, job: Any) -> None:
    last = Listener(web, after=0)
    last.start()
    import time

    time.sleep(3)
    listener.stop()
    last.stop()
    numbers = [each["id"] for each in listener.seen]
    assert numbers == [each["id"] for each in last.seen], "a lost connection misses nothing and repeats nothing"
    assert numbers == sorted(set(numbers))
    completed = {each["task"] for each in listener.seen if each["kind"] == "completed"}
    assert len(completed) >= 5 * MOVIES
    assert listener.progress
    assert listener.progress[-1]["job"] == job["id"]


def _hide_token(web: Web) -> None:
    """In no log and in no process list."""
    family = [psutil.Process(web.process.pid), *psutil.Process(web.process.pid).children(recursive=True)]
    assert len(family) >= 4
    assert not any(web.token in " ".join(process.cmdline()) for process in family)
    for path in [*(web.home / "state/logs").iterdir(), web.home.parent / f"{web.home.name}.up.log"]:
        assert web.token not in path.read_text(errors="replace"), path
    assert (web.home / "state/token").stat().st_mode & 0o077 == 0
