"""The default recipe on simulated sessions: kills change no byte; formats and bad movies go through the whole pipeline."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine import Run, assert_no_debris, hash_results, hash_tree, promoted

from magellon.io.movie import open_movie
from magellon.io.mrc import write_mrc
from magellon.io.star import read_star
from magellon.simulation.score import read_motion, score_motion
from magellon.simulation.session import simulate_session
from magellon.simulation.spec import SessionSpec
from magellon.simulation.truth import read_truth

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def completed(summary: dict[str, Any]) -> dict[str, int]:
    """Of the steps that a session without pictures of the grid always has; there may be enough particles to classify, too."""
    asked = (*ITEM_STEPS, "session_star")
    return {entry["step"]: entry["completed"] for entry in summary["steps"] if entry["step"] in asked}


def measure_motion(session: Path, folder: Path) -> float:
    """Error of the global motion of the middle one of all movies, Å: in five such small frames some show too little."""
    scores = [
        score_motion(movie, read_motion(folder / "motion_correction" / f"{movie.name}.star"))
        for movie in read_truth(session).movies
    ]
    return float(np.median([score.global_rms for score in scores]))


DIAMETER = "particle_picking.diameter=194"
"""Fields this small show too few particles for a survey."""
OPEN = ("filter.max_resolution=none", "filter.max_astigmatism=none")
"""And too short rings for the filter's thresholds."""
ITEM_STEPS = ("motion_correction", "ctf_estimation", "fft", "particle_picking", "particle_extraction")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate_session(tmp_path_factory.mktemp("simulated") / "lot", SessionSpec(movies=4, size=512, frames=6))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, session: Path) -> Path:
    run = Run(session, tmp_path_factory.mktemp("undisturbed") / "home")
    run.start()
    summary = run.finish(400)
    assert summary["ok"]
    assert not summary["failures"]
    return run.home


def test_kills_change_no_byte_of_a_real_session(tmp_path: Path, session: Path, undisturbed: Path) -> None:
    run = Run(session, tmp_path / "home")
    run.start()
    for least, words in ((2, "magellon.platform.worker"), (6, "magellon.platform.server"), (10, "nats-server")):
        run.wait_until(lambda least=least: len(promoted(run.home)) >= least, 300)  # type: ignore[misc]
        run.kill(words)
    run.wait_until(lambda: len(promoted(run.home)) >= 13, 300)
    run.kill_foreground()
    run.assert_nothing_left()
    shutil.rmtree(run.home / "state/bus/store")
    run.start()
    assert run.finish(400)["ok"]
    assert promoted(run.home) == promoted(undisturbed)
    assert hash_results(run.home) == hash_results(undisturbed)
    assert hash_tree(run.home / "sessions") == hash_tree(undisturbed / "sessions")
    assert_no_debris(run.home)


def test_every_path_in_session_files_exists_and_none_is_absolute(undisturbed: Path) -> None:
    (folder,) = (undisturbed / "sessions").iterdir()
    particles = read_star(folder / "particles.star")["particles"]
    for label in ("rlnMicrographName", "rlnImageName"):
        for name in set(particles[label]):
            assert (folder / str(name).split("@")[-1]).is_file(), name
    for star in (folder / "motion_correction").glob("*.star"):
        general = read_star(star)["general"]
        assert (folder / str(general["rlnMicrographMovieName"][0])).is_file()
        assert (folder / str(general["rlnMicrographGainName"][0])).is_file()
    for path in folder.rglob("*"):
        if path.suffix in (".star", ".json"):
            assert str(undisturbed.parent) not in path.read_text(), path


def test_twelve_eer_movies(tmp_path: Path) -> None:
    spec = SessionSpec(movies=12, size=512, frames=5, format="eer", eer_raw_frames=4, detector="falcon4")
    session = simulate_session(tmp_path / "lot", spec)
    run = Run(session, tmp_path / "home", settings=(DIAMETER, *OPEN))
    run.start()
    summary = run.finish(600)
    assert summary["ok"]
    assert completed(summary) == {**dict.fromkeys(ITEM_STEPS, 12), "session_star": 1}
    (folder,) = (run.home / "sessions").iterdir()
    assert measure_motion(session, folder) < 1.0
    general = read_star(next((folder / "motion_correction").glob("*.star")))["general"]
    assert general.ints("rlnEERGrouping") == [4]


def test_twelve_tiff_movies_with_a_rotated_gain(tmp_path: Path) -> None:
    spec = SessionSpec(movies=12, size=384, width=512, frames=5, gain_rotation=90)
    session = simulate_session(tmp_path / "lot", spec)
    run = Run(session, tmp_path / "home", settings=(DIAMETER, *OPEN))
    run.start()
    summary = run.finish(600)
    assert summary["ok"]
    assert completed(summary) == {**dict.fromkeys(ITEM_STEPS, 12), "session_star": 1}
    (folder,) = (run.home / "sessions").iterdir()
    assert measure_motion(session, folder) < 1.0
    general = read_star(next((folder / "motion_correction").glob("*.star")))["general"]
    assert (folder / str(general["rlnMicrographGainName"][0])).is_file()


def test_bad_movies_fail_alone_with_a_reason(tmp_path: Path) -> None:
    session = simulate_session(tmp_path / "lot", SessionSpec(movies=5, size=256, frames=4, format="mrc", mrc_mode="float16"))
    paths = sorted((session / "movies").glob("*.mrc"))
    content = paths[0].read_bytes()
    paths[0].write_bytes(content[: len(content) // 2])
    movie = open_movie(paths[1])
    frames = np.stack([np.asarray(movie.read(index), dtype=np.float32) for index in range(movie.frames)])
    frames[2, 10, 20] = np.nan
    write_mrc(paths[1], frames, 1.2)
    write_mrc(paths[2], np.ones((4, 200, 256), dtype=np.float32), 1.2)
    run = Run(session, tmp_path / "home", settings=("particle_picking.diameter=120", *OPEN))
    run.start()
    summary: dict[str, Any] = run.finish(400)
    failures = {entry["item"]: entry for entry in summary["failures"] if entry["step"] == "motion_correction"}
    assert sorted(failures) == [path.stem for path in paths[:3]]
    assert {entry["kind"] for entry in failures.values()} == {"bad_input"}
    assert all(path.name in failures[path.stem]["reason"] or path.stem in failures[path.stem]["reason"] for path in paths[:3])
    assert "200" in failures[paths[2].stem]["reason"]
    assert summary["ok"]
    assert completed(summary) == {**dict.fromkeys(ITEM_STEPS, 2), "session_star": 1}
