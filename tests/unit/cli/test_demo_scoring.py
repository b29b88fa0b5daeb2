"""The demo's table: no error for perfect results, and every kind of error where there is one."""

from pathlib import Path

import numpy as np
import pytest

from magellon.cli.demo.scoring import Figure, score_session
from magellon.io.star import StarTable, read_star, write_star
from magellon.simulation.scene import sample_movie
from magellon.simulation.session import assemble_cast, make_camera
from magellon.simulation.spec import MotionRanges, SessionSpec
from magellon.simulation.truth import SessionTruth, plain_values

SPEC = SessionSpec(movies=2, size=1024, frames=4, motion=MotionRanges(local=(0.0, 0.0)))


@pytest.fixture(scope="module")
def truth() -> SessionTruth:
    cast = assemble_cast(SPEC)
    movies = tuple(sample_movie(SPEC, cast, index) for index in range(SPEC.movies))
    models = ({"name": "any", "diameter": 190.0},)
    return SessionTruth(SPEC.name, plain_values(SPEC), models, plain_values(make_camera(SPEC)), movies)


def write_perfect(folder: Path, truth: SessionTruth) -> None:
    """A session folder that states the truth."""
    for step in ("motion_correction", "particle_picking"):
        (folder / step).mkdir()
    ctfs = {label: [] for label in ("rlnMicrographName", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle")}
    particles = {
        label: [] for label in ("rlnMicrographName", "rlnCoordinateX", "rlnCoordinateY", "rlnOriginXAngst", "rlnOriginYAngst")
    }
    for movie in truth.movies:
        shifts = -movie.global_shifts / movie.pixel_size
        general = {
            "rlnMicrographOriginalPixelSize": [movie.pixel_size],
            "rlnImageSizeX": [movie.shape[1]],
            "rlnImageSizeY": [movie.shape[0]],
            "rlnMotionModelVersion": [0],
        }
        columns = {"rlnMicrographShiftX": shifts[:, 0].tolist(), "rlnMicrographShiftY": shifts[:, 1].tolist()}
        blocks = {"general": StarTable(general, loop=False), "global_shift": StarTable(columns)}
        write_star(folder / "motion_correction" / f"{movie.name}.star", blocks)
        ctf = movie.apparent_ctf()
        name = f"motion_correction/{movie.name}.mrc"
        for label, value in zip(ctfs, (name, ctf.defocus_u, ctf.defocus_v, ctf.defocus_angle), strict=True):
            ctfs[label].append(value)
        points = movie.particles.points_px[movie.particles.kind == "good"]
        picks = {"rlnCoordinateX": points[:, 0].tolist(), "rlnCoordinateY": points[:, 1].tolist()}
        write_star(folder / "particle_picking" / f"{movie.name}_autopick.star", {"": picks})
        for point in points:
            whole = np.round(point)
            origin = (whole - point) * movie.pixel_size
            for label, value in zip(particles, (name, *whole, *origin), strict=True):
                particles[label].append(value)
    write_star(folder / "micrographs_ctf.star", {"micrographs": ctfs})
    optics = {"rlnOpticsGroup": [1], "rlnMicrographPixelSize": [SPEC.pixel_size]}
    write_star(folder / "particles.star", {"optics": optics, "particles": particles})


def measure(folder: Path, truth: SessionTruth) -> dict[str, Figure]:
    return {figure.quantity: figure for figure in score_session(folder, truth)}


def test_perfect_results_have_no_error(truth: SessionTruth, tmp_path: Path) -> None:
    write_perfect(tmp_path, truth)
    figures = measure(tmp_path, truth)
    assert all(figure.kept for figure in figures.values())
    assert figures["global motion, error"].value < 1e-4
    assert figures["motion over the field, error"].value < 1e-4
    assert figures["defocus, error"].value < 1e-3
    assert figures["picks, F1"].value == 1
    assert figures["picks, distance to the particle"].value < 1e-3


def test_what_classification_keeps_is_compared_too(truth: SessionTruth, tmp_path: Path) -> None:
    write_perfect(tmp_path, truth)
    assert not any("kept" in quantity for quantity in measure(tmp_path, truth))
    blocks = read_star(tmp_path / "particles.star")
    rows = blocks["particles"].rows
    half = {label: values[: rows // 2] for label, values in blocks["particles"].items()}
    half["rlnClassNumber"] = [str(number % 10 + 1) for number in range(rows // 2)]
    (tmp_path / "two_d_classification").mkdir()
    write_star(tmp_path / "two_d_classification/particles.star", {**blocks, "particles": StarTable(half)})
    figures = measure(tmp_path, truth)
    assert figures["kept by classification, precision"].value == 1
    assert figures["classes with kept particles"].value == 10
    (lost,) = [figure for quantity, figure in figures.items() if quantity.startswith("true particles kept")]
    assert not lost.kept
    assert 0.3 < lost.value / (lost.limit / 0.75) < 0.7


def test_a_micrograph_that_is_missing_counts_as_missed(truth: SessionTruth, tmp_path: Path) -> None:
    write_perfect(tmp_path, truth)
    (tmp_path / "particle_picking" / f"{truth.movies[0].name}_autopick.star").unlink()
    figures = measure(tmp_path, truth)
    assert figures["picks, precision"].value == 1
    assert 0.3 < figures["picks, recall"].value < 0.7
    assert not figures["picks, F1"].kept


def test_the_opposite_sign_of_the_shifts_is_an_error(truth: SessionTruth, tmp_path: Path) -> None:
    write_perfect(tmp_path, truth)
    path = tmp_path / "motion_correction" / f"{truth.movies[0].name}.star"
    blocks = read_star(path)
    shifts = {label: [-value for value in blocks["global_shift"].floats(label)] for label in blocks["global_shift"]}
    write_star(path, {**blocks, "global_shift": shifts})
    assert not measure(tmp_path, truth)["global motion, error"].kept
