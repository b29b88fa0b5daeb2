"""The simulated image against RELION's own idea of poses, defocus, heights and beam tilt."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from magellon.algorithms.fsc import fourier_shell_correlation
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.star import StarTable, write_star
from magellon.simulation.detector import DETECTORS
from magellon.simulation.movie import Renderer
from magellon.simulation.presets import CLEAN_ICE
from magellon.simulation.projection import Grid, render_map
from magellon.simulation.scene import sample_movie
from magellon.simulation.session import assemble_cast
from magellon.simulation.spec import MotionRanges, OpticsRanges, SessionSpec
from magellon.simulation.truth import MovieTruth

BOX, PIXEL_SIZE = 128, 2.0
SPEC = SessionSpec(
    movies=1, size=1024, frames=1, pixel_size=PIXEL_SIZE, resolution=4.0, phantom="barrel", seed=5,
    specimen=replace(CLEAN_ICE, particles=(110, 110), preferred_views=(0, 0), height=(300, 300)),
    optics=OpticsRanges(defocus=(6000, 6000), beam_tilt=(5, 5), envelope_b=(0, 0)), motion=MotionRanges(jitter=(0, 0)),
)  # fmt: skip


def write_particles(folder: Path, truth: MovieTruth, image: np.ndarray, tilt_sign: int) -> None:
    """Boxes of the noise-free image, and what RELION needs to know of them."""
    particles = truth.particles.chosen(truth.particles.inside(truth.shape, BOX // 2 + 1))
    whole = np.rint(particles.points_px).astype(int)
    half = BOX // 2
    boxes = np.stack([1 - image[y - half : y + half, x - half : x + half] for x, y in whole])
    write_mrc(folder / "p.mrcs", boxes, PIXEL_SIZE)
    origin = (whole - particles.points_px) * PIXEL_SIZE
    count = len(particles)
    optics: dict[str, list[Any]] = {
        "rlnOpticsGroup": [1], "rlnOpticsGroupName": ["a"], "rlnVoltage": [300.0], "rlnSphericalAberration": [2.7],
        "rlnAmplitudeContrast": [0.1], "rlnImagePixelSize": [PIXEL_SIZE], "rlnImageSize": [BOX], "rlnImageDimensionality": [2],
        "rlnBeamTiltX": [tilt_sign * truth.optics.beam_tilt[0]], "rlnBeamTiltY": [tilt_sign * truth.optics.beam_tilt[1]],
    }  # fmt: skip
    rows: dict[str, list[Any]] = {
        "rlnImageName": [f"{number + 1:06d}@p.mrcs" for number in range(count)],
        "rlnOriginXAngst": origin[:, 0].tolist(), "rlnOriginYAngst": origin[:, 1].tolist(),
        "rlnAngleRot": particles.rot.tolist(), "rlnAngleTilt": particles.tilt.tolist(), "rlnAnglePsi": particles.psi.tolist(),
        "rlnDefocusU": (truth.ctf.defocus_u + particles.height).tolist(),
        "rlnDefocusV": (truth.ctf.defocus_v + particles.height).tolist(),
        "rlnDefocusAngle": [truth.ctf.defocus_angle] * count, "rlnOpticsGroup": [1] * count,
    }  # fmt: skip
    write_star(folder / "p.star", {"optics": StarTable(optics), "particles": StarTable(rows)})


@pytest.mark.relion
def test_relion_reconstructs_the_phantom_to_5_angstrom(tmp_path: Path) -> None:
    """Poses, particle defocus and the sign of the beam tilt: the opposite tilt spoils what lies beyond 8 Å."""
    if shutil.which("relion_reconstruct") is None:
        pytest.skip("RELION is not installed")
    actors = assemble_cast(SPEC)
    truth = sample_movie(SPEC, actors, 0)
    image = Renderer(truth, actors.models, replace(DETECTORS["k3"], localisation=0.0), 1).exposed(ice=False)
    volume = render_map(actors.models[0], Grid(BOX, PIXEL_SIZE))
    curves = {}
    for sign in (1, -1):
        write_particles(tmp_path, truth, image, sign)
        command = ["relion_reconstruct", "--i", "p.star", "--o", "map.mrc", "--ctf", "--sym", "D7", "--maxres", "4.6"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        curves[sign] = fourier_shell_correlation(torch.from_numpy(read_mrc(tmp_path / "map.mrc")), volume).numpy()
    shell = {resolution: round(BOX * PIXEL_SIZE / resolution) for resolution in (20, 10, 5)}
    assert curves[1][shell[20]] > 0.95
    assert curves[1][shell[10]] > 0.9
    assert curves[1][shell[5]] > 0.75
    assert curves[-1][shell[5]] < 0.4
