"""Progress and summary in words."""

import json
from pathlib import Path

import pytest

from magellon.cli.process.progress import LineWriter, count_all, describe, say_trouble
from magellon.cli.process.summary import print_summary
from magellon.platform.server.report import Progress, RunningTask, StepProgress, Summary, Trouble

MOTION = StepProgress(step="motion_correction", pending=2, running=1, completed=3, failed=1)
PICKING = StepProgress(step="particle_picking", pending=5, held=2)


def make_progress(settled: bool = False) -> Progress:
    running = (RunningTask(step="motion_correction", item="a", fraction=0.42),)
    return Progress(job=1, steps=(MOTION, PICKING), running=running, settled=settled)


def test_counts_everything_that_ends() -> None:
    assert count_all(MOTION) == 7
    assert say_trouble(MOTION) == " (1 failed)"
    assert say_trouble(PICKING) == " (2 held)"
    assert say_trouble(StepProgress(step="x", completed=3)) == ""


def test_says_what_is_at_work() -> None:
    assert describe(MOTION, make_progress()) == "(1 failed) a 42%"
    assert describe(PICKING, make_progress()) == "(2 held)"


def test_a_log_gets_a_line_when_something_changed(capsys: pytest.CaptureFixture[str]) -> None:
    write = LineWriter()
    write(make_progress())
    write(make_progress())
    write(make_progress(settled=True))
    assert capsys.readouterr().err.splitlines() == ["motion_correction 4/7 (1 failed), particle_picking 2/7 (2 held)"]


def test_the_summary_names_every_failure_and_held_micrograph(capsys: pytest.CaptureFixture[str]) -> None:
    summary = Summary(
        session="grid7",
        folder="grid7",
        steps=(MOTION, PICKING),
        failures=(Trouble(step="motion_correction", item="b", kind="bad_input", reason="b.tiff: is empty [0 bytes]"),),
        held=(Trouble(step="particle_picking", item="c", kind="held", reason="CTF score 0.01, at least 0.1 wanted"),),
        ok=False,
    )
    print_summary(summary)
    text = capsys.readouterr().out
    assert "b, motion_correction: b.tiff: is empty [0 bytes]" in text
    assert "c, particle_picking: CTF score 0.01, at least 0.1 wanted" in text
    assert "could not be processed" in text


def test_the_summary_tells_of_classes_and_of_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    classes = {"count": 900, "kept": 610, "classes_used": 14, "resolution": 9.26}
    (tmp_path / "summary.json").write_text(json.dumps({"classification": classes}))
    (tmp_path / "two_d_classification").mkdir()
    (tmp_path / "two_d_classification/class_averages.png").touch()
    left_out = (Trouble(step="other_classes", item="session", kind="skipped", reason="9 particles, at least 100 wanted"),)
    print_summary(Summary(session="s", folder=str(tmp_path), steps=(MOTION,), failures=(), held=(), left_out=left_out, ok=True))
    text = capsys.readouterr().out
    assert "900 particles in 14 classes, 610 of them are kept, the best to 9.3 Å: " in text
    assert "two_d_classification/class_averages.png" in text
    assert "session, other_classes: 9 particles, at least 100 wanted" in text
