"""Scores against known errors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magellon.errors import BadInput
from magellon.io.star import StarTable, write_star
from magellon.simulation.phantoms import build_phantom
from magellon.simulation.scene import Cast, sample_movie
from magellon.simulation.score import (
    NO_PICKS,
    MotionEstimate,
    read_motion,
    read_particle_points,
    read_points,
    score_ctfs,
    score_motion,
    score_picks,
)
from magellon.simulation.spec import OpticsRanges, SessionSpec, SpecimenRanges
from magellon.simulation.truth import Blob, CtfTruth, MovieTruth


@pytest.fixture(scope="module")
def movie() -> MovieTruth:
    model = build_phantom("monomer")
    specimen = SpecimenRanges(carbon=0.0, beam_edge=0.0, contamination=(0, 0), broken=(0.1, 0.1))
    return sample_movie(SessionSpec(size=1024, specimen=specimen), Cast((model, model, model), 1), 0)


def test_perfect_motion_scores_zero_and_a_constant_does_not_count(movie: MovieTruth) -> None:
    score = score_motion(movie, movie)
    assert score.global_rms == pytest.approx(0, abs=1e-9)
    assert score.field_rms == pytest.approx(0, abs=1e-9)
    moved = replace(movie.motion, global_shifts=movie.global_shifts + np.array([3.0, -2.0]))
    assert score_motion(movie, replace(movie, motion=moved)).field_rms == pytest.approx(0, abs=1e-9)


def test_motion_errors_have_their_size(movie: MovieTruth) -> None:
    wrong = movie.global_shifts.copy()
    wrong[::2, 0] += 0.5
    wrong[1::2, 0] -= 0.5
    estimate = MotionEstimate(wrong, None, movie.shape, movie.pixel_size)
    score = score_motion(movie, estimate)
    assert score.global_rms == pytest.approx(0.5, abs=0.02)
    assert score.field_rms == pytest.approx(np.hypot(0.5, score.still_rms), rel=0.02)


def test_motion_star_is_read_as_displacement(tmp_path: Path, movie: MovieTruth) -> None:
    """RELION writes corrections in pixels: minus the displacement."""
    pixels = -movie.global_shifts / movie.pixel_size
    coefficients = np.zeros((2, 6, 3))
    coefficients[0, 1, 0] = -0.01  # x correction: -0.01 px per frame over the width
    general = {
        "rlnImageSizeX": [1024], "rlnImageSizeY": [1024], "rlnMicrographOriginalPixelSize": [1.2], "rlnMotionModelVersion": [1],
    }  # fmt: skip
    write_star(
        tmp_path / "m.star",
        {
            "general": StarTable(general, loop=False),
            "global_shift": {
                "rlnMicrographFrameNumber": list(range(1, 25)),
                "rlnMicrographShiftX": pixels[:, 0].tolist(),
                "rlnMicrographShiftY": pixels[:, 1].tolist(),
            },
            "local_motion_model": {
                "rlnMotionModelCoeffsIdx": list(range(36)),
                "rlnMotionModelCoeff": coefficients.ravel().tolist(),
            },
        },
    )
    estimate = read_motion(tmp_path / "m.star")
    assert estimate.global_shifts == pytest.approx(movie.global_shifts, abs=1e-5)
    local = estimate.displacement(np.array([[1024.0, 512.0]]), 10)[0] - estimate.global_shifts[10]
    assert local == pytest.approx([0.01 * 0.5 * 10 * 1.2, 0])
    with pytest.raises(BadInput, match="not the motion"):
        read_motion(_write(tmp_path / "n.star"))


def test_ctf_errors_are_vectors(movie: MovieTruth) -> None:
    true = movie.apparent_ctf()
    assert score_ctfs([(movie, true)]).defocus_rms == pytest.approx(0, abs=1e-6)
    fit = CtfTruth(true.defocus_u + 100, true.defocus_v + 100, true.defocus_angle + 180, 0.0)
    score = score_ctfs([(movie, true), (movie, fit)])
    assert score.defocus_rms == pytest.approx(100 / np.sqrt(2))
    assert score.astigmatism_rms == pytest.approx(0, abs=1e-6)
    assert score_ctfs([(movie, CtfTruth(40000, 39000, 0, 0))]).failed == 1
    assert score_ctfs([]).micrographs == 0


def test_apparent_ctf_knows_pixel_size_and_magnification() -> None:
    model = build_phantom("monomer")
    ranges = OpticsRanges(pixel_size_error=(0.02, 0.02), magnification_anisotropy=(0.01, 0.01), astigmatism=(0, 0))
    movie = sample_movie(SessionSpec(size=256, optics=ranges), Cast((model, model, model), 1), 0)
    apparent = movie.apparent_ctf()
    scale = (movie.optics.nominal_pixel_size / movie.optics.pixel_size) ** 2
    assert abs(scale - 1) > 0.03
    assert apparent.mean_defocus == pytest.approx(movie.ctf.mean_defocus * scale, rel=1e-3)
    assert apparent.defocus_u - apparent.defocus_v == pytest.approx(0.02 * movie.ctf.mean_defocus * scale, rel=0.02)


def test_picks_are_counted_once(movie: MovieTruth) -> None:
    diameter = 100.0
    particles = movie.particles
    margin = diameter / 2 / movie.pixel_size
    good = (particles.kind == "good") & particles.inside(movie.shape, margin)
    points = particles.points_px
    perfect = score_picks(movie, points[np.isin(particles.kind, ("good", "broken"))], diameter)
    assert (perfect.precision, perfect.recall, perfect.f1, perfect.centring_rms) == (1, 1, 1, 0)
    assert perfect.true_positives == good.sum()
    half = points[good][::2] + np.array([3.0, 0.0])
    some = score_picks(movie, np.concatenate([half, half[:2] + 2, [[-40.0, 5.0]]]), diameter)
    assert some.recall == pytest.approx(len(half) / good.sum())
    assert some.duplicates <= some.false_positives == 2 - max(0, 2 - some.false_positives)
    assert 2 < some.centring_rms < 6
    empty = score_picks(movie, np.zeros((0, 2)), diameter)
    assert (empty.recall, empty.missed, empty.f1) == (0, good.sum(), 0)
    assert (NO_PICKS + perfect + empty).missed == empty.missed
    binned = score_picks(movie, points[good] / 2, diameter, binning=2)
    assert binned.f1 == 1


def test_picks_on_contamination_are_told(movie: MovieTruth) -> None:
    around = replace(movie.surroundings, contamination=(Blob(500.0, 500.0, 200.0, 500.0),))
    dirty = replace(movie, surroundings=around, particles=movie.particles.chosen(~around.obscured(movie.particles.points_px)))
    score = score_picks(dirty, np.array([[500.0, 500.0]]), 100.0)
    assert (score.false_positives, score.obscured) == (1, 1)


def test_coordinates_are_read_as_relion_means_them(tmp_path: Path) -> None:
    write_star(tmp_path / "a.star", {"": {"rlnCoordinateX": [10.5], "rlnCoordinateY": [20.0]}})
    assert read_points(tmp_path / "a.star").tolist() == [[10.5, 20.0]]
    write_star(
        tmp_path / "p.star",
        {
            "optics": {"rlnOpticsGroup": [1], "rlnMicrographPixelSize": [2.0]},
            "particles": {
                "rlnMicrographName": ["motion_correction/a.mrc", "motion_correction/b.mrc"],
                "rlnCoordinateX": [10.7, 3.0], "rlnCoordinateY": [20.0, 4.0],
                "rlnOriginXAngst": [1.0, 0.0], "rlnOriginYAngst": [-1.0, 0.0], "rlnOpticsGroup": [1, 1],
            },
        },
    )  # fmt: skip
    points = read_particle_points(tmp_path / "p.star")
    assert points["a"].tolist() == [[9.5, 20.5]]
    assert points["b"].tolist() == [[3.0, 4.0]]
    with pytest.raises(BadInput, match="rlnCoordinateX"):
        read_points(_write(tmp_path / "x.star"))


def _write(path: Path) -> Path:
    write_star(path, {"other": {"rlnX": [1]}})
    return path
