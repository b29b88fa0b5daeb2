"""The gain's orientation is tried on the first movies before the batch, where nobody says it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine import Run

from magellon.io.gain import turn
from magellon.io.mrc import read_mrc
from magellon.simulation.session import simulate_session
from magellon.simulation.spec import SessionSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
RECIPE = '[steps.motion_correction]\nbackend = "motioncor"\n[steps.session_star]\nbackend = "relion"\n'


def process(session: Path, home: Path) -> dict[str, Any]:
    (home.parent / "recipe.toml").write_text(RECIPE)
    run = Run(session, home, home.parent / "recipe.toml")
    run.start()
    summary = run.finish(400)
    assert summary["ok"]
    return summary


def test_a_turned_gain_gives_the_micrographs_that_a_right_one_gives(tmp_path: Path) -> None:
    spec = SessionSpec(movies=2, size=256, frames=12, gain_rotation=270, gain_flip="x", format="mrc", seed=3)
    session = simulate_session(tmp_path / "lot", spec)
    (tmp_path / "said").mkdir()
    said = process(session, tmp_path / "said" / "home")
    values = json.loads((session / "session.json").read_text())
    for key in ("gain_rotation", "gain_flip"):
        del values[key]
    (session / "session.json").write_text(json.dumps(values))
    (tmp_path / "unsaid").mkdir()
    tried = process(session, tmp_path / "unsaid" / "home")
    assert [step["step"] for step in said["steps"]] == ["motion_correction", "session_star"]
    assert {step["step"]: step["completed"] for step in tried["steps"]} == {
        "gain_check": 1,
        "motion_correction": 2,
        "session_star": 1,
    }
    for name in ("sim_0001.mrc", "sim_0002.mrc"):
        images = [read_mrc(Path(summary["folder"]) / "motion_correction" / name) for summary in (said, tried)]
        np.testing.assert_array_equal(*images)
    [gain] = (Path(tried["folder"])).glob("gain.*_rot*_flip_*.mrc")
    np.testing.assert_allclose(read_mrc(gain), turn(read_mrc(session / "gain.mrc"), 270, "x"))
