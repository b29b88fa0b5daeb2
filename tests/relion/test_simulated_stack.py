"""RELION reconstructs a protein from the simulated stack and its truth: poses, shifts, CTF and signs are RELION's."""

from pathlib import Path

import torch

from magellon.algorithms.fsc import fourier_shell_correlation
from magellon.io.mrc import read_mrc
from magellon.io.star import StarTable, read_star, write_star
from magellon.simulation.particle_sets import simulate_particles
from magellon.simulation.particle_truth import ParticleSetSpec
from magellon.simulation.phantoms import build_phantom
from magellon.simulation.projection import Grid, render_map


def test_reconstruction_from_the_truth_is_the_protein(tmp_path: Path, relion) -> None:
    spec = ParticleSetSpec(count=600, proteins=("monomer",), box=48, pixel_size=3.0, snr=1.0, junk=0.2, optics_groups=2)
    simulate_particles(tmp_path, spec)
    tables = read_star(tmp_path / "truth.star")
    table = tables["particles"]
    kept = [row for row, kind in enumerate(table["magellonTruthKind"]) if kind == "good"]
    chosen = {label: [values[row] for row in kept] for label, values in table.items() if label.startswith("rln")}
    write_star(tmp_path / "good.star", {"optics": tables["optics"], "particles": StarTable(chosen)})
    relion("reconstruct", i="good.star", o="map.mrc", ctf=True)
    found = torch.from_numpy(read_mrc(tmp_path / "map.mrc"))
    curve = fourier_shell_correlation(found, render_map(build_phantom("monomer"), Grid(48, 3.0)))
    assert curve[2:13].min() > 0.9  # To 11 Å.
    mirrored = fourier_shell_correlation(found, render_map(build_phantom("monomer").mirrored(), Grid(48, 3.0)))
    assert mirrored[8:13].mean() < 0.5
