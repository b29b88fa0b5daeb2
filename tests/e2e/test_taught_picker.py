"""The feedback recipe with nothing but real backends: a session's classes teach the network that then picks it."""

import json
from pathlib import Path

import pytest
from engine import Run, assert_no_debris

from magellon.backends.cnn_picker.backend import SHIPPED
from magellon.io.star import read_star
from magellon.simulation.score import NO_PICKS, PickScore, read_points, score_picks
from magellon.simulation.session import simulate_session
from magellon.simulation.spec import SessionSpec
from magellon.simulation.truth import SessionTruth, read_truth

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SETTINGS = (
    "filter.max_resolution=none",
    "filter.max_astigmatism=none",
    "first_picking.diameter=191",
    "particle_picking.diameter=191",
    "first_classes.at_least=40",
    "first_classes.sample=4",
    "first_classes.classes=3",
    "picker_training.sample=4",
    "picker_training.steps=60",
    "two_d_classification.at_least=100000",
)
"""Fields too small for a survey and the filter's thresholds; four of six micrographs teach; the last step is left out."""


def score(truth: SessionTruth, folder: Path) -> PickScore:
    total = NO_PICKS
    for movie in truth.movies:
        total += score_picks(movie, read_points(folder / f"{movie.name}_autopick.star"), truth.diameter)
    return total


def test_a_session_teaches_its_picker_with_what_its_classes_kept(tmp_path: Path) -> None:
    session = simulate_session(tmp_path / "lot", SessionSpec(movies=6, size=1024, frames=6, exposure_per_frame=6.0, seed=3))
    run = Run(session, tmp_path / "home", Path("feedback"), SETTINGS)
    run.start()
    summary = run.finish(600)
    assert summary["ok"]
    assert not summary["failures"]
    folder = run.home / "sessions/sim"
    kept = read_star(folder / "first_classes/particles.star")["particles"]
    assert len(set(kept["rlnMicrographName"])) == 4
    report = json.loads((folder / "picker_training/picker_training_report.json").read_text())
    assert report["micrographs"] == 4
    taught = (folder / "picker_training/picker.onnx").read_bytes()
    assert (taught != SHIPPED.read_bytes()) or not report["improved"]
    truth = read_truth(session)
    first, second = score(truth, folder / "first_picking"), score(truth, folder / "particle_picking")
    print(f"dog F1 {first.f1:.3f}, taught network F1 {second.f1:.3f}; {report}")
    assert second.f1 >= max(0.9, first.f1)
    assert second.centring_rms < 0.05 * truth.diameter
    assert_no_debris(run.home)
