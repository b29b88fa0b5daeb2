"""The end-to-end test: a map reconstructed by RELION from what our steps make of moving movies, compared with the truth.

A consistent mirror or sign error anywhere would pass a comparison of our files with each other; it does not pass the
comparison with a chiral phantom and its mirror image, whose atoms know nothing of RELION.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import time
T0=time.time()
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
    Optics,
    Picks,
    SessionItem,
    SessionStarInput,
)
from magellon.io.mrc import read_mrc
from magellon.io.star import write_star
from magellon.simulation.phantoms import build_phantom
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


@dataclass(frozen=True)
class Reconstruction:
    volume: torch.Tensor
    particles: int


def process(folder: Path, motion: MotionRanges) -> Path:
    """Simulate a session and take it from movies to `particles.star`, with true coordinates and poses as picks."""
    spec = SessionSpec(
        movies=7, size=1024, frames=12, pixel_size=PIXEL, phantom=PHANTOM, seed=11, exposure_per_frame=2.0, motion=motion,
        specimen=CLEAN,
    )  # fmt: skip
    session = simulate_session(folder / "raw", spec)
    truth = read_truth(session)
    items = [process_movie(folder, session, movie, truth.diameter) for movie in truth.movies]
    output = RelionSession().run(SessionStarInput(items=tuple(items)), RelionSession.Params(), context(folder))
    assert output.particles is not None
    return output.particles


def context(folder: Path) -> Context:
    folder.mkdir(parents=True, exist_ok=True)
    return Context(workdir=folder, threads=2)


def process_movie(folder: Path, session: Path, truth: MovieTruth, diameter: float) -> SessionItem:
    movie = Movie(
        name=truth.name, path=session / truth.file, pixel_size=PIXEL, optics=Optics(), exposure_per_frame=truth.exposure_per_frame,
        gain=Gain(path=session / "gain.mrc"), defects=session / "defects.txt",
    )  # fmt: skip
    motion = MotionCor().run(MotionInput(movie=movie), MotionCor.Params(), context(folder / "motion_correction"))
    ctf_input = CtfInput(micrograph=motion.unweighted, group_spectrum=motion.group_spectrum)
    ctf = CtfEstimation().run(ctf_input, CtfEstimation.Params.model_validate({"max_resolution": 8.0}), context(folder / "ctf_estimation"))
    picks = write_true_picks(folder / f"{truth.name}_true.star", truth, diameter)
    extraction_input = ExtractionInput(micrograph=motion.micrograph, picks=picks, ctf=ctf.ctf)
    params = StackMaker.Params.model_validate({"box_size": BOX, "minimum_distance": 0})
    extraction = StackMaker().run(extraction_input, params, context(folder / "particle_extraction"))
    return SessionItem(name=truth.name, movie=movie, motion_correction=motion, ctf_estimation=ctf, particle_extraction=extraction)


def write_true_picks(path: Path, truth: MovieTruth, diameter: float) -> Picks:
    good = truth.particles.chosen(truth.particles.inside(truth.shape, BOX / 2))
    columns = {
        "rlnCoordinateX": good.x_px, "rlnCoordinateY": good.y_px,
        "rlnAngleRot": good.rot, "rlnAngleTilt": good.tilt, "rlnAnglePsi": good.psi,
    }  # fmt: skip
    write_star(path, {"": {label: values.tolist() for label, values in columns.items()}})
    return Picks(path=path, count=len(good), diameter=diameter)


def reconstruct(tmp_path: Path, relion, star: Path) -> torch.Tensor:
    # RELION finds stacks relative to where it runs: the session folder.
    here = star.parent.relative_to(tmp_path)
    relion("reconstruct", i="particles.star", o="map.mrc", ctf=True, sym=SYMMETRY, pad=2, cwd=here)
    return torch.from_numpy(read_mrc(star.parent / "map.mrc"))


def mask(volume: torch.Tensor, diameter: float) -> torch.Tensor:
    """Without the corners, which hold noise alone."""
    place = (torch.arange(BOX) - BOX // 2) * PIXEL
    radius = (place[:, None, None] ** 2 + place[:, None] ** 2 + place**2).sqrt()
    edge = ((diameter / 2 + 20 - radius) / 15).clamp(0, 1)
    return volume * (0.5 - 0.5 * torch.cos(torch.pi * edge))


def test_map_from_moving_movies_is_as_good_as_from_still_ones(tmp_path: Path, relion) -> None:
    phantom = build_phantom(PHANTOM)
    truth, mirrored = (render_map(model, Grid(BOX, PIXEL)) for model in (phantom, phantom.mirrored()))
    curves = {}
    for name, motion in {"moving": MotionRanges(), "still": STILL}.items():
        star = process(tmp_path / name, motion)
        volume = mask(reconstruct(tmp_path, relion, star), phantom.diameter)
        curves[name] = fourier_shell_correlation(volume, mask(truth, phantom.diameter))
        against_mirror = fourier_shell_correlation(volume, mask(mirrored, phantom.diameter))
        print(name, time.time()-T0, resolution_at(curves[name], 0.5, PIXEL), curves[name].numpy().round(2), against_mirror.numpy().round(2))
        beyond_30 = slice(int(np.ceil(BOX * PIXEL / 30)) + 1, BOX // 2)
        assert against_mirror[beyond_30].max() < 0.3
    moving, still = (resolution_at(curves[name], 0.5, PIXEL) for name in ("moving", "still"))
    assert moving <= 1.05 * still
