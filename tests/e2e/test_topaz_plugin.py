"""Topaz really installed from the index by one command, and run on a simulated micrograph. Skips without an index."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from magellon.io.movie import open_movie
from magellon.io.mrc import read_mrc, write_mrc
from magellon.simulation.score import read_points, score_picks
from magellon.simulation.session import simulate_session
from magellon.simulation.spec import DetectorRanges, MotionRanges, OpticsRanges, SessionSpec, SpecimenRanges
from magellon.simulation.truth import read_truth

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables with which `magellon` sees Topaz, freshly installed."""
    folder = tmp_path_factory.mktemp("topaz")
    ask = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), "topaz-em==0.3.20"]
    try:
        reached = subprocess.run(ask, capture_output=True, check=False, timeout=180).returncode == 0
    except subprocess.TimeoutExpired:
        reached = False
    if not reached:
        pytest.skip("no package index that has topaz-em")
    variables = {**os.environ, "MAGELLON_PLUGINS": str(folder / "home" / "plugins"), "OMP_NUM_THREADS": "1"}
    install = [sys.executable, "-m", "magellon", "plugin", "install", "topaz", "--home", str(folder / "home")]
    done = subprocess.run(install, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return variables


def test_it_picks_and_denoises(environment: dict[str, str], tmp_path: Path) -> None:
    spec = SessionSpec(
        movies=1, size=768, frames=2, exposure_per_frame=20.0, pixel_size=1.6, seed=5, truth_images=True,
        motion=MotionRanges(net=(0, 0), jitter=(0, 0), local=(0, 0)), optics=OpticsRanges(defocus=(18000, 18000)),
        camera=DetectorRanges(dead_pixels=(0, 0), hot_pixels=(0, 0)),
        specimen=SpecimenRanges(contamination=(0, 0), carbon=0.0, beam_edge=0.0),
    )  # fmt: skip
    simulate_session(tmp_path / "session", spec, processes=1)
    truth = read_truth(tmp_path / "session" / "truth" / "truth.json")
    image = sum(open_movie(tmp_path / "session" / truth.movies[0].file), np.zeros(spec.shape, np.float32))
    write_mrc(tmp_path / "m1.mrc", image * read_mrc(tmp_path / "session" / "gain.mrc"), spec.pixel_size)
    for step in (["particle_picking/topaz", "--diameter", "191"], ["micrograph_denoising/topaz"]):
        command = [sys.executable, "-m", "magellon", "run", step[0], "m1.mrc", "--out", "out", "--device", "cpu", *step[1:]]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    found = score_picks(truth.movies[0], read_points(tmp_path / "out" / "m1_autopick.star"), truth.diameter)
    assert found.recall > 0.7
    assert found.centring_rms < 15
    clean = read_mrc(tmp_path / "session" / "truth" / f"{truth.movies[0].name}_exposure.mrc").ravel()
    before, after = (np.corrcoef(clean, read_mrc(tmp_path / name).ravel())[0, 1] for name in ("m1.mrc", "out/m1_denoised.mrc"))
    assert after > before + 0.1
