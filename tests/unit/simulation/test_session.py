"""Whole simulated sessions on disk."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magellon.errors import BadInput
from magellon.io.gain import read_gain
from magellon.io.movie import open_movie
from magellon.io.mrc import read_mrc
from magellon.io.star import read_star
from magellon.simulation.presets import PRESETS
from magellon.simulation.session import simulate_session
from magellon.simulation.spec import DetectorRanges, SessionSpec
from magellon.simulation.truth import format_movie, parse_movie, read_truth

SMALL = replace(PRESETS["tiny"], size=256, frames=3, phantom="monomer")


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read_sum(session: Path) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the frames of the first movie, gain applied, and the gain."""
    document = json.loads((session / "session.json").read_text())
    movie = open_movie(session / read_truth(session).movies[0].file)
    gain = read_gain(
        session / document["gain"], movie_format=movie.format, shape=(movie.height, movie.width),
        rotation=document["gain_rotation"], flip=document["gain_flip"],
    )  # fmt: skip
    return sum(movie.read(index).astype(np.float64) for index in range(movie.frames)) * gain, gain


def test_same_seed_same_bytes_and_complete(tmp_path: Path) -> None:
    seen = []
    for name in ("a", "b"):
        simulate_session(tmp_path / name, replace(SMALL, truth_images=True), lambda *now: seen.append(now), processes=1)
    assert seen[:2] == [(1, 2), (2, 2)]
    first = digest(tmp_path / "a")
    assert first == digest(tmp_path / "b")
    assert {"session.json", "gain.mrc", "defects.txt", "movies/sim_0001.tiff", "truth/truth.json", "truth/particles.star",
            "truth/phantom_0.mrc", "truth/sim_0001_exposure.mrc"} <= set(first)  # fmt: skip
    truth = read_truth(tmp_path / "a")
    movie = open_movie(tmp_path / "a" / truth.movies[1].file)
    assert (movie.frames, movie.height, movie.width) == (3, 256, 256)
    table = read_star(tmp_path / "a" / "truth" / "particles.star")["particles"]
    assert table.rows == sum(int((m.particles.inside(m.shape) & (m.particles.kind == "good")).sum()) for m in truth.movies)
    # The movie shows the noise-free exposure: low frequencies of both agree.
    summed, gain = read_sum(tmp_path / "a")
    clean = read_mrc(tmp_path / "a" / "truth" / "sim_0001_exposure.mrc")
    good = gain > 0
    summed = np.where(good, np.minimum(summed, 1.5 * np.median(summed)), np.median(summed))
    k = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.rfftfreq(256)[None])
    low = [np.fft.irfft2(np.fft.rfft2(image - image.mean()) * np.exp(-200 * k**2)).ravel() for image in (summed, clean)]
    assert np.corrcoef(*low)[0, 1] > 0.5


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    for name, processes in (("one", 1), ("two", 2)):
        simulate_session(tmp_path / name, replace(SMALL, movies=3), processes=processes)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_another_seed_is_another_session(tmp_path: Path) -> None:
    for seed in (1, 2):
        simulate_session(tmp_path / str(seed), replace(SMALL, movies=1, seed=seed), processes=1)
    ours, other = digest(tmp_path / "1"), digest(tmp_path / "2")
    assert ours["movies/sim_0001.tiff"] != other["movies/sim_0001.tiff"]
    assert ours["gain.mrc"] != other["gain.mrc"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"format": "mrc", "mrc_mode": "int8", "gain_rotation": 90, "gain_flip": "none"}, "mrc"),
        ({"format": "mrc", "mrc_mode": "float16", "detector": "falcon", "gain_rotation": 180, "gain_flip": "y"}, "mrc"),
        ({"format": "tiff", "gain_rotation": 270, "gain_flip": "x", "width": 320}, "tiff"),
        ({"format": "eer", "detector": "falcon4", "gain_rotation": 90, "gain_flip": "y", "exposure_per_frame": 2.0}, "eer"),
    ],
)
def test_gain_flattens_the_movie_in_every_format(tmp_path: Path, change: dict[str, object], expected: str) -> None:
    """With a gain of 20 %, only the right orientation leaves an image that does not show it."""
    camera = DetectorRanges(gain=(0.2, 0.2), gain_error=(0, 0), dead_pixels=(0, 0), hot_pixels=(0, 0), dose_rate=(1, 1))
    spec = replace(SMALL, movies=1, camera=camera, **{"exposure_per_frame": 8.0, **change})
    simulate_session(tmp_path, spec, processes=1)
    flat, gain = read_sum(tmp_path)
    assert open_movie(tmp_path / read_truth(tmp_path).movies[0].file).format == expected
    assert gain.std() > 0.1
    assert np.corrcoef((flat / gain).ravel(), gain.ravel())[0, 1] < -0.35
    assert abs(np.corrcoef(flat.ravel(), gain.ravel())[0, 1]) < 0.1


def test_truth_survives_writing_and_reading(tmp_path: Path) -> None:
    simulate_session(tmp_path, replace(SMALL, movies=1), processes=1)
    truth = read_truth(tmp_path / "truth")
    movie = truth.movies[0]
    again = parse_movie(json.loads(json.dumps(format_movie(movie))))
    assert format_movie(again) == format_movie(movie)
    assert truth.movie("sim_0001") is movie
    with pytest.raises(KeyError):
        truth.movie("other")
    assert truth.diameter == pytest.approx(100, abs=5)
    assert truth.spec["seed"] == 1


@pytest.mark.parametrize("text", [None, "{", "{}", '{"movies": [1], "name": 1}'])
def test_bad_truth_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "truth.json").write_text(text)
    with pytest.raises(BadInput, match=str(tmp_path)):
        read_truth(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"phantom": "unicorn"}, "unicorn"),
        ({"detector": "film"}, "film"),
        ({"movies": 0}, "movies 0"),
        ({"frames": -3}, "frames -3"),
        ({"size": 8}, "size 8"),
        ({"pixel_size": float("nan")}, "pixel size nan"),
        ({"exposure_per_frame": 0.0}, "exposure"),
        ({"gain_rotation": 45}, "45"),
        ({"format": "eer", "detector": "falcon"}, "integrates"),
        ({"pdb": Path("absent.cif")}, "absent.cif"),
    ],
)
def test_absurd_specs_are_refused(tmp_path: Path, change: dict[str, object], named: str) -> None:
    with pytest.raises(BadInput, match=named):
        simulate_session(tmp_path, replace(SMALL, **change), processes=1)


def test_defaults_are_the_published_conditions() -> None:
    spec = SessionSpec()
    assert (spec.movies, spec.shape, spec.frames, spec.pixel_size, spec.exposure_per_frame) == (10, (2048, 2048), 24, 1.2, 1.04)
    assert all(preset.movies > 0 for preset in PRESETS.values())
