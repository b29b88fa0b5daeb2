"""A session to its end: what fails fails alone and says why; what changes redoes its descendants and nothing else."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engine import Run, assert_no_debris, count_executions, promoted
from fake_session import make_session, use_fake_backends, write_movie, write_recipe


@pytest.fixture
def diary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
        monkeypatch.setenv(name, "")
    use_fake_backends(tmp_path / "diary")
    return tmp_path / "diary"


def process(run: Run, *settings: str) -> dict[str, Any]:
    run.settings = settings
    run.start()
    return run.finish()


def counts(summary: dict[str, Any], step: str) -> dict[str, int]:
    found = next(entry for entry in summary["steps"] if entry["step"] == step)
    return {state: number for state, number in found.items() if state != "step" and number}


DIAMETER = "particle_picking.diameter=150"


def take_diary(diary: Path) -> Counter[str]:
    executions = count_executions(diary)
    diary.unlink(missing_ok=True)
    return executions


@pytest.mark.slow
def test_failures_stay_alone_and_changes_redo_only_what_depends_on_them(tmp_path: Path, diary: Path) -> None:
    session = make_session(
        tmp_path / "lot",
        {
            "a": "fine",
            "b": "fine",
            "blurred": "fine",
            "c_bad": "bad",
            "d_full": "transient",
            "e_bug": "defect",
            "f_crash": "crash",
        },
    )
    write_movie(session / "movies" / "g_cut.mrc", "fine")
    (session / "movies" / "g_cut.mrc").write_bytes((session / "movies" / "g_cut.mrc").read_bytes()[:-20])
    write_movie(session / "movies" / "h_wide.mrc", "fine", width=16)
    run = Run(session, tmp_path / "home", write_recipe(tmp_path))

    summary = process(run)
    assert summary["ok"]
    assert counts(summary, "motion_correction") == {"completed": 3, "failed": 6}
    assert counts(summary, "particle_picking") == {"completed": 2, "held": 1, "skipped": 6}
    failures = {entry["item"]: (entry["kind"], entry["reason"]) for entry in summary["failures"]}
    assert failures["c_bad"] == ("bad_input", "c_bad.mrc: holds 'bad', must not")
    assert failures["d_full"][0] == "transient"
    assert "No space left" in failures["d_full"][1]
    assert failures["e_bug"] == ("defect", "ZeroDivisionError: a bug")
    assert failures["f_crash"][0] == "defect"
    assert "SIGKILL" in failures["f_crash"][1]
    assert failures["g_cut"][0] == failures["h_wide"][0] == "bad_input"
    assert "g_cut" in failures["g_cut"][1]
    assert failures["h_wide"][1] == "h_wide: 16 x 8 px, the session's movies are 8 x 8 px"
    (held,) = summary["held"]
    assert held["item"] == "blurred"
    assert held["reason"] == "CTF fit resolution 12 Å, at most 8 Å wanted"
    begun = take_diary(diary)
    assert begun["motion_correction c_bad"] == 1
    assert begun["motion_correction d_full"] == 5
    assert begun["motion_correction e_bug"] == begun["motion_correction f_crash"] == 2
    assert begun["motion_correction g_cut"] == begun["motion_correction h_wide"] == 0
    assert {number for name, number in begun.items() if name.split()[1] in ("a", "b", "blurred")} == {1}
    assert_no_debris(run.home)
    folder = run.home / "sessions" / "lot"
    assert json.loads((folder / "summary.json").read_text()) == {"items": 9}
    assert not (folder / "particle_picking" / "blurred_autopick.star").exists()
    assert (folder / "movies" / "a.mrc").samefile(session / "movies" / "a.mrc")

    # the threshold is relaxed: the held one continues; what failed for reasons of its own is tried again
    relaxed = process(run, "filter.max_resolution=15")
    assert not relaxed["held"]
    begun = take_diary(diary)
    assert {name for name in begun if name.split()[1] in ("a", "b", "blurred", "session")} == {
        "particle_picking blurred",
        "particle_extraction blurred",
        "session_star session",
    }
    assert begun["motion_correction c_bad"] == 0
    assert (folder / "particle_picking" / "blurred_autopick.star").exists()

    # another parameter: the step and its descendants
    process(run, "filter.max_resolution=15", "particle_picking.salt=1")
    begun = take_diary(diary)
    redone = {name.split()[0] for name in begun if name.split()[1] in ("a", "b", "blurred", "session")}
    assert redone == {"particle_picking", "particle_extraction", "session_star"}
    assert (folder / "particle_picking" / "a_autopick.star").read_text() == "a 1 10000.0 300.0"

    # and back: everything is known already
    before = promoted(run.home)
    again = process(run)
    begun = take_diary(diary)
    assert {name for name in begun if name.split()[1] in ("a", "b", "blurred", "session")} == set()
    assert promoted(run.home) == before
    assert [entry["item"] for entry in again["held"]] == ["blurred"]
    assert not (folder / "particle_picking" / "blurred_autopick.star").exists()
    assert (folder / "particle_picking" / "a_autopick.star").read_text() == "a 0 10000.0 300.0"
    assert_no_debris(run.home)


@pytest.mark.slow
def test_a_file_among_the_parameters_goes_by_its_content(tmp_path: Path, diary: Path) -> None:
    session = make_session(tmp_path / "lot", {"a": "fine", "b": "fine"})
    reference = tmp_path / "elsewhere" / "reference.txt"
    reference.parent.mkdir()
    reference.write_text(" one")
    run = Run(session, tmp_path / "home", write_recipe(tmp_path))
    setting = f"particle_picking.reference={reference}"
    assert process(run, setting)["ok"]
    star = run.home / "sessions/lot/particle_picking/a_autopick.star"
    assert star.read_text() == "a 0 10000.0 200.0 one"
    take_diary(diary)
    reference.rename(tmp_path / "elsewhere" / "moved.txt")
    reference.write_text(" one")
    assert process(run, setting)["ok"]
    assert not take_diary(diary)
    reference.write_text(" two")
    assert process(run, setting)["ok"]
    assert star.read_text() == "a 0 10000.0 200.0 two"
    assert {name.split()[0] for name in take_diary(diary)} == {"particle_picking", "particle_extraction", "session_star"}


@pytest.mark.slow
def test_a_task_that_kills_its_workers_is_given_up(tmp_path: Path, diary: Path) -> None:
    session = make_session(tmp_path / "lot", {"a": "poison", "b": "fine"})
    summary = process(Run(session, tmp_path / "home", write_recipe(tmp_path)))
    (failure,) = summary["failures"]
    assert (failure["item"], failure["kind"]) == ("a", "lost")
    assert "3 times" in failure["reason"]
    assert counts(summary, "particle_extraction") == {"completed": 1, "skipped": 1}
    assert count_executions(diary)["motion_correction a"] == 3


@pytest.mark.slow
def test_new_movies_are_added_and_nothing_repeated(tmp_path: Path, diary: Path) -> None:
    session = make_session(tmp_path / "lot", {"a": "fine", "b": "fine"})
    run = Run(session, tmp_path / "home", write_recipe(tmp_path))
    assert process(run, DIAMETER)["ok"]
    take_diary(diary)
    write_movie(session / "movies" / "c.mrc", "fine")
    summary = process(run, DIAMETER)
    assert counts(summary, "particle_extraction") == {"completed": 3}
    assert {name.split()[1] for name in take_diary(diary)} == {"c", "session"}
    assert (run.home / "sessions/lot/particles.star").read_text() == "a: a 0 10000.0\nb: b 0 10000.0\nc: c 0 10000.0\n"


@pytest.mark.slow
def test_a_session_in_which_nothing_works_is_no_success(tmp_path: Path, diary: Path) -> None:
    session = make_session(tmp_path / "lot", {"a": "bad", "b": "bad"})
    summary = process(Run(session, tmp_path / "home", write_recipe(tmp_path)))
    assert not summary["ok"]
    assert len(summary["failures"]) == 2


@pytest.mark.slow
def test_a_survey_is_made_once_and_only_if_asked_for(tmp_path: Path, diary: Path) -> None:
    session = make_session(tmp_path / "lot", {f"m{number:02d}": "fine" for number in range(11)})
    run = Run(session, tmp_path / "home", write_recipe(tmp_path))
    star = run.home / "sessions/lot/particle_picking/m10_autopick.star"

    def given() -> dict[str, int]:
        return {name: number for name, number in take_diary(diary).items() if "survey" in name or "picking m10" in name}

    assert process(run)["ok"]
    assert star.read_text() == "m10 0 10000.0 800.0"
    assert (run.home / "sessions/lot/particle_survey/particle_survey.png").read_text().split()[-1] == "m07"
    assert given() == {"particle_survey session": 1, "particle_picking m10": 1}
    process(run, "particle_picking.diameter=150")
    assert star.read_text() == "m10 0 10000.0"
    assert given() == {"particle_picking m10": 1}
    assert not (run.home / "sessions/lot/particle_survey/particle_survey.png").exists()
    process(run)
    assert star.read_text() == "m10 0 10000.0 800.0"
    assert given() == {}
    process(run, "particle_survey.salt=1")
    assert star.read_text() == "m10 0 10000.0 801.0"
    assert given() == {"particle_survey session": 1, "particle_picking m10": 1}


@pytest.mark.slow
def test_a_survey_that_fails_says_what_to_do(tmp_path: Path, diary: Path) -> None:
    session = make_session(tmp_path / "lot", {"unsure": "fine", "b": "fine"})
    run = Run(session, tmp_path / "home", write_recipe(tmp_path))
    summary = process(run)
    assert not summary["ok"]
    assert [(entry["step"], entry["reason"]) for entry in summary["failures"]] == [
        ("particle_survey", "no two micrographs agree")
    ]
    assert counts(summary, "particle_extraction") == {"skipped": 2}
    assert process(run, "particle_picking.diameter=150")["ok"]
