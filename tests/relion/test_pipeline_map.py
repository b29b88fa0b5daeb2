"""The end-to-end test: a map reconstructed by RELION from what our steps make of moving movies, compared with the truth.

A consistent mirror or sign error anywhere would pass a comparison of our files with each other; it does not pass the
comparison with a chiral phantom and its mirror image, whose atoms know nothing of RELION.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from magellon.algorithms.fsc import fourier_shell_correlation, resolution_at
from magellon.backends.ctf.backend import CtfEstimation
from magellon.backends.motioncor.backend import MotionCor
from magellon.backends.session_star.backend import RelionSession
from magellon.backends.stack_maker.backend import StackMaker
from magellon.contracts import (
    Context,
    CtfInput,
    ExtractionInput,
    Gain,
    MotionInput,
    Movie,
    Picks,
    SessionItem,
    SessionStarInput,
)
from magellon.io.mrc import read_mrc
from magellon.io.star import read_star, write_star
from magellon.simulation.phantoms import AtomicModel, build_phantom
from magellon.simulation.projection import Grid, render_map
from magellon.simulation.session import simulate_session
from magellon.simulation.spec import MotionRanges, SessionSpec, SpecimenRanges
from magellon.simulation.truth import MovieTruth, read_truth

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PIXEL, BOX, PHANTOM, SYMMETRY = 3.0, 80, "barrel", "D7"
STILL = MotionRanges(net=(0, 0), early_excess=(0, 0), settling=(5, 5), jitter=(0, 0), local=(0, 0))
CLEAN = SpecimenRanges(
    broken=(0, 0), denatured=(0, 0), foreign=(0, 0), contamination=(0, 0), carbon=0.0, beam_edge=0.0, preferred_views=(0, 0)
)


def process(folder: Path, motion: MotionRanges) -> Path:
    """Simulate a session and take it from movies to a RELION project folder, with true coordinates and poses as picks."""
    spec = SessionSpec(
        movies=7, size=1024, frames=12, pixel_size=PIXEL, phantom=PHANTOM, seed=11, exposure_per_frame=2.0, motion=motion,
        specimen=CLEAN, gain_rotation=90, gain_flip="x",
    )  # fmt: skip
    session = simulate_session(folder / "raw", spec)
    truth = read_truth(session)
    items = [process_movie(folder, session, movie, truth.diameter) for movie in truth.movies]
    RelionSession().run(SessionStarInput(items=tuple(items)), RelionSession.Params(), context(folder))
    (folder / "movies").mkdir()
    for file in (*(session / "movies").iterdir(), session / "defects.txt"):
        (folder / "movies" / file.name).symlink_to(file)
    return folder


def context(folder: Path) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    return Context(workdir=folder, threads=2)


def process_movie(folder: Path, session: Path, truth: MovieTruth, diameter: float) -> SessionItem:
    movie = Movie(
        name=truth.name, path=session / truth.file, pixel_size=PIXEL, exposure_per_frame=truth.exposure_per_frame,
        gain=Gain(path=session / "gain.mrc", rotation=90, flip="x"), defects=session / "defects.txt",
    )  # fmt: skip
    motion = MotionCor().run(MotionInput(movie=movie), MotionCor.Params(), context(folder / "motion_correction"))
    ctf_input = CtfInput(micrograph=motion.unweighted, group_spectrum=motion.group_spectrum)
    ctf = CtfEstimation().run(ctf_input, CtfEstimation.Params(), context(folder / "ctf_estimation"))
    picks = write_true_picks(folder / f"{truth.name}_true.star", truth, diameter)
    extraction_input = ExtractionInput(micrograph=motion.micrograph, picks=picks, ctf=ctf.ctf)
    params = StackMaker.Params.model_validate({"box_size": BOX, "minimum_distance": 0})
    extraction = StackMaker().run(extraction_input, params, context(folder / "particle_extraction"))
    return SessionItem(
        name=truth.name, movie=movie, motion_correction=motion, ctf_estimation=ctf, particle_extraction=extraction
    )


def write_true_picks(path: Path, truth: MovieTruth, diameter: float) -> Picks:
    good = truth.particles.chosen(truth.particles.inside(truth.shape, BOX / 2))
    columns = {
        "rlnCoordinateX": good.x_px, "rlnCoordinateY": good.y_px,
        "rlnAngleRot": good.rot, "rlnAngleTilt": good.tilt, "rlnAnglePsi": good.psi,
    }  # fmt: skip
    write_star(path, {"": {label: values.tolist() for label, values in columns.items()}})
    return Picks(path=path, count=len(good), diameter=diameter)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session folder of movies that move as real ones do."""
    return process(tmp_path_factory.mktemp("moving"), MotionRanges())


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same specimen, microscope and noise without any motion."""
    return process(tmp_path_factory.mktemp("still"), STILL)


@pytest.fixture(scope="module")
def phantom() -> AtomicModel:
    return build_phantom(PHANTOM)


def reconstruct(session: Path, relion) -> torch.Tensor:
    """RELION's reconstruction, without the corners, which hold noise alone."""
    if not (session / "map.mrc").exists():
        relion("reconstruct", cwd=session, i="particles.star", o="map.mrc", ctf=True, sym=SYMMETRY, pad=2)
    return torch.from_numpy(read_mrc(session / "map.mrc"))


def apply_mask(volume: torch.Tensor, diameter: float) -> torch.Tensor:
    place = (torch.arange(BOX) - BOX // 2) * PIXEL
    radius = (place[:, None, None] ** 2 + place[:, None] ** 2 + place**2).sqrt()
    edge = ((diameter / 2 + 20 - radius) / 15).clamp(0, 1)
    return volume * (0.5 - 0.5 * torch.cos(torch.pi * edge))


def correlate(volume: torch.Tensor, model: AtomicModel, diameter: float) -> torch.Tensor:
    truth = render_map(model, Grid(BOX, PIXEL))
    return fourier_shell_correlation(apply_mask(volume, diameter), apply_mask(truth, diameter))


def test_map_is_that_of_the_phantom_and_not_of_its_mirror_image(moving: Path, phantom: AtomicModel, relion) -> None:
    assert read_star(moving / "particles.star")["particles"].rows >= 1000
    volume = reconstruct(moving, relion)
    right, mirrored = (correlate(volume, model, phantom.diameter) for model in (phantom, phantom.mirrored()))
    beyond_30 = slice(math.ceil(BOX * PIXEL / 30) + 1, BOX // 2)
    assert right[: math.ceil(BOX * PIXEL / 10)].min() > 0.9
    assert mirrored[beyond_30].max() < 0.3


def test_map_from_moving_movies_is_as_good_as_from_still_ones(moving: Path, still: Path, phantom: AtomicModel, relion) -> None:
    """The resolution may be Nyquist in both cases; so the agreement at the finest details is compared as well."""
    resolutions, finest = {}, {}
    for name, session in {"moving": moving, "still": still}.items():
        curve = correlate(reconstruct(session, relion), phantom, phantom.diameter)
        resolutions[name] = resolution_at(curve, 0.5, PIXEL)
        finest[name] = float(curve[math.ceil(BOX * PIXEL / 10) : BOX // 2].mean())
    assert resolutions["moving"] <= 1.05 * resolutions["still"], resolutions
    assert finest["moving"] >= 0.95 * finest["still"], finest


def test_polishing_runs_on_our_motion_and_finds_the_true_tracks(moving: Path, relion) -> None:
    """RELION reads our motion metadata, refines it, and follows the particles as they truly moved."""
    for half in (1, 2):
        name = f"half{half}_class001_unfil.mrc"
        relion("reconstruct", cwd=moving, i="particles.star", o=name, ctf=True, sym=SYMMETRY, subset=half)
    relion(
        "mask_create", cwd=moving, i="half1_class001_unfil.mrc", o="mask.mrc", lowpass=20, ini_threshold=0, width_soft_edge=6
    )
    halves = ("half1_class001_unfil.mrc", "half2_class001_unfil.mrc")
    (moving / "PostProcess").mkdir()
    relion(
        "postprocess", cwd=moving, i=halves[0], i2=halves[1], o="PostProcess/postprocess", mask="mask.mrc", angpix=PIXEL,
        allow_error="gs -sDEVICE",
    )  # fmt: skip
    relion(
        "motion_refine", cwd=moving, i="particles.star", f="PostProcess/postprocess.star", m1=halves[0], m2=halves[1],
        mask="mask.mrc",
        corr_mic="corrected_micrographs.star", o="Polish/", combine_frames=True, bfac_minfreq=20, max_MG=0,
        allow_error="gs -sDEVICE",
    )  # fmt: skip
    truth = read_truth(moving / "raw").movies[0]
    blocks = read_star(moving / f"Polish/motion_correction/{truth.name}_tracks.star")
    tracks = np.array(
        [
            [table.floats("rlnOriginXAngst"), table.floats("rlnOriginYAngst")]
            for name, table in blocks.items()
            if name != "general"
        ]
    )
    mean_track = tracks.mean(axis=0).T
    error = np.sqrt(((mean_track - truth.global_shifts) ** 2).sum(axis=1).mean())
    assert np.linalg.norm(truth.global_shifts[-1]) > 5
    assert error < 0.5
    polished, ours = (
        read_mrc(moving / name)
        for name in (f"Polish/motion_correction/{truth.name}_shiny.mrcs", f"particle_extraction/{truth.name}.mrcs")
    )
    agreement = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(polished, ours, strict=True)]
    assert np.median(agreement) > 0.8
