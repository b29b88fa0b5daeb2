"""Every resource answers what the ledger holds, and hands on what is asked of it."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from magellon.platform.people.roles import Role
from magellon.platform.store.schema import access, audit, sessions, tasks, users


def test_health_needs_no_token_and_everything_else_does(site: Any) -> None:
    assert site.get("/health", role=None)["status"] == "ok"
    for path in ("/sessions", "/jobs", "/tasks", "/sessions/1/micrographs", "/events", "/backends"):
        answer = site.ask("GET", path, role=None)
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json"), path


def test_sessions_and_jobs_say_how_far_they_are(site: Any) -> None:
    (session,) = site.get("/sessions")["items"]
    assert (session["name"], session["movies"], session["job"]) == ("lot", 5, site.job)
    assert site.get(f"/sessions/{session['id']}")["definition"]["pixel_size"] == 1
    assert site.get("/sessions?name=x")["items"] == []
    job = site.get(f"/jobs/{site.job}")
    counts = {step["step"]: step for step in job["steps"]}
    assert counts["motion_correction"] == {
        "step": "motion_correction", "backend": "fake", "pending": 1, "running": 0, "completed": 3, "failed": 1,
        "cancelled": 0, "held": 0, "outdated": 0,
    }  # fmt: skip
    assert counts["fft"]["held"] == 1, "what needs the failed one"
    assert (job["state"], job["paused"], next(iter(job["recipe"]["steps"]))) == ("running", False, "motion_correction")
    assert site.get("/jobs?session=1")["items"][0]["id"] == site.job
    assert site.ask("GET", "/jobs/77").status_code == 404


def test_a_session_says_what_was_wrong_with_its_folder(site: Any) -> None:
    assert site.get("/sessions/1")["folder_problems"] == []
    with site.book.ledger.transaction() as connection:
        connection.execute(update(sessions).values(problems=["no gain was found", "a.xml: it is damaged"]))
    assert site.get("/sessions/1")["folder_problems"] == ["no gain was found", "a.xml: it is damaged"]
    with site.book.ledger.transaction() as connection:
        connection.execute(update(sessions).values(problems=None))  # imported before they were kept
    assert site.get("/sessions/1")["folder_problems"] == []


def test_tasks_tell_their_provenance(site: Any) -> None:
    (done, *_) = site.get("/tasks?state=completed&step=motion_correction")["items"]
    task = site.get(f"/tasks/{done['id']}")
    assert task["provenance"] == {"host": "node7", "seconds": 2.5, "worker": "w"}
    assert (task["backend"], task["version"], task["worker"]) == ("fake", 1, "w")
    assert "path" in json.dumps(task["inputs"]["movie"]) or task["inputs"]["movie"]
    assert task["outputs"]["micrograph"]["path"] == "m.mrc"
    (bad,) = site.get("/tasks?state=failed")["items"]
    assert (bad["kind"], bad["reason"]) == ("bad_input", "why")
    assert site.get(f"/tasks/{bad['id']}")["traceback"] == "where"
    both = site.get("/tasks?state=failed&state=completed")["items"]
    assert {each["state"] for each in both} == {"failed", "completed"}
    assert site.get(f"/tasks?micrograph={bad['micrograph']}&step=fft")["items"][0]["state"] == "held"


def test_a_result_of_other_settings_shows_as_outdated(site: Any) -> None:
    with site.book.ledger.transaction() as connection:
        waiting = tasks.c.state.in_(("waiting", "pending"))
        connection.execute(update(tasks).where(waiting, tasks.c.step == "fft").values(former="0" * 64))
    outdated = site.get("/tasks?state=outdated")["items"]
    assert outdated
    assert {each["step"] for each in outdated} == {"fft"}
    assert all(each["step"] != "fft" for each in site.get("/tasks?state=pending")["items"])
    steps = {step["step"]: step for step in site.get(f"/jobs/{site.job}")["steps"]}
    assert steps["fft"]["outdated"] == len(outdated)


@pytest.mark.parametrize(
    ("path", "body", "call"),
    [
        ("/jobs/1/pause", None, ("pause", 1)),
        ("/jobs/1/resume", None, ("resume", 1)),
        ("/jobs/1/cancel", None, ("cancel_job", 1)),
        ("/jobs/1/retry-failed?cancelled=true", None, ("retry_failed", 1, True)),
        ("/jobs/1/priority", {"priority": 7}, ("set_priority", 1, 7)),
        ("/tasks/2/retry", None, ("retry_task", 2)),
        ("/tasks/2/cancel", None, ("cancel_task", 2)),
    ],
)
def test_changes_of_jobs_are_handed_on_noted_and_not_for_viewers(
    site: Any, path: str, body: Any, call: tuple[Any, ...]
) -> None:
    _let_viewer_see(site)
    assert site.ask("POST", path, Role.VIEWER, json=body).status_code == 403
    assert site.control.calls == []
    assert site.ask("POST", path, Role.OPERATOR, json=body).status_code == 200
    assert site.control.calls == [call]
    with site.book.ledger.reading() as connection:
        assert connection.execute(select(audit.c.user, audit.c.target)).one() == ("operator-person", str(call[1]))


def test_a_recipe_is_changed_by_settings_or_as_a_whole(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magellon.platform.server.http.confinement.read_catalogue", lambda *_: {})
    answer = site.ask("POST", "/jobs/1/recipe", json={"settings": ["fft.size=256"]})
    assert (answer.status_code, answer.json()) == (200, {"tasks": 3})
    assert site.control.calls[0][2].steps["fft"].params == {"size": 256}
    wrong = site.ask("POST", "/jobs/1/recipe", json={"settings": ["nothing.size=256"]})
    assert wrong.status_code == 422
    assert "nothing" in wrong.json()["detail"]


def test_a_refusal_of_the_engine_is_a_problem(site: Any) -> None:
    answer = site.ask("POST", "/tasks/1/retry")
    assert (answer.status_code, answer.json()["status"]) == (422, 422)
    assert "only failed and cancelled" in answer.json()["detail"]


def test_a_folder_is_submitted_where_sessions_may_lie(site: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magellon.platform.server.http.confinement.read_catalogue", lambda *_: {})
    new = {"folder": str(tmp_path / "lot"), "settings": ["filter.max_resolution=8"]}
    assert site.ask("POST", "/sessions", Role.VIEWER, json=new).status_code == 403
    answer = site.ask("POST", "/sessions", Role.OPERATOR, json=new)
    assert (answer.status_code, answer.json()["id"]) == (201, site.job)
    assert site.entrance.seen[0].recipe.steps["filter"].params["max_resolution"] == 8
    assert not site.entrance.seen[0].alone
    (tmp_path / "out").symlink_to("/etc")
    for folder in ("/etc", str(tmp_path / "out"), str(tmp_path / "../.."), "relative", str(tmp_path / "missing")):
        refused = site.ask("POST", "/sessions", json={"folder": folder})
        assert refused.status_code == 422, folder
    for name in ("gain", "defects", "metadata"):
        refused = site.ask("POST", "/sessions", json={**new, "acquisition": {name: "/etc"}})
        assert refused.status_code == 422, name
    assert len(site.entrance.seen) == 1


def test_who_may_not_see_a_session_sees_nothing_of_it(site: Any) -> None:
    for path in ("/sessions", "/jobs", "/tasks"):
        assert site.get(path, Role.VIEWER)["items"] == []
    for path in ("/sessions/1", "/jobs/1", "/tasks/1", "/sessions/1/micrographs", "/micrographs/1", "/tasks/1/files/m.png",
                 "/sessions/1/files/summary.json", "/tasks/1/log", "/sessions/1/histograms", "/micrographs/1/tiles",
                 "/sessions/1/artefacts", "/sessions/1/places"):  # fmt: skip
        assert site.ask("GET", path, Role.VIEWER).status_code == 404, path
    _let_viewer_see(site)
    assert len(site.get("/tasks", Role.VIEWER)["items"]) > 3
    assert site.get("/micrographs/1", Role.VIEWER)["name"] == "m0"


def _let_viewer_see(site: Any) -> None:
    with site.book.ledger.transaction() as connection:
        viewer = connection.execute(select(users.c.id).where(users.c.role == "viewer")).scalar_one()
        session = connection.execute(select(sessions.c.id)).scalar_one()
        connection.execute(access.insert().values(session_id=session, user_id=viewer))


def test_an_artefact_is_attached_where_it_lies_and_fetched(site: Any, tmp_path: Path) -> None:
    (tmp_path / "map.mrc").write_bytes(bytes(2048))
    new = {"kind": "map", "name": "refine", "path": str(tmp_path / "map.mrc"), "detail": {"resolution": 2.9}}
    made = site.ask("POST", "/sessions/1/artefacts", Role.OPERATOR, json=new)
    assert (made.status_code, made.json()["size"], made.json()["created_by"]) == (201, 2048, "operator-person")
    again = site.ask("POST", "/sessions/1/artefacts", json={**new, "detail": {"resolution": 2.7}})
    assert again.json()["id"] == made.json()["id"]
    (listed,) = site.get("/sessions/1/artefacts")["items"]
    assert listed["detail"] == {"resolution": 2.7}
    assert len(site.ask("GET", f"/artefacts/{listed['id']}/file").content) == 2048
    (tmp_path / "map.mrc").unlink()
    (tmp_path / "map.mrc").symlink_to("/etc/passwd")
    assert site.ask("GET", f"/artefacts/{listed['id']}/file").status_code == 404
    for path, kind in (("/etc/passwd", "map"), (str(tmp_path / "lot/session.json"), "map"), (str(tmp_path), "star")):
        refused = site.ask("POST", "/sessions/1/artefacts", json={"kind": kind, "name": "x", "path": path})
        assert refused.status_code == 422, path


def test_backends_come_with_their_parameters(site: Any, catalogue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magellon.platform.server.http.routes.backends.read_catalogue", lambda *_: catalogue)
    found = site.get("/backends")["items"]
    assert [each["category"] for each in found] == ["motion_correction", "fft", "session_star"]
    assert found[1]["parameters"]["type"] == "object"
    assert len(site.get("/backends?category=fft")["items"]) == 1
