"""The catalogue of phantoms."""

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from magellon.algorithms.fsc import fourier_shell_correlation
from magellon.simulation.phantoms import build_phantom, phantom_names
from magellon.simulation.projection import Grid, euler_matrices, fitting_box, project_atoms, render_map
from magellon.simulation.symmetry import symmetry_operators

SMALL = ("monomer", "rod", "channel", "tetramer", "barrel", "shell")


def test_catalogue_is_broad() -> None:
    assert len(phantom_names()) >= 6
    assert {"C1", "C2", "C4", "D2", "D7", "O"} <= {build_phantom(name).symmetry for name in SMALL}


@pytest.mark.parametrize("name", SMALL)
def test_phantom_has_its_symmetry_and_the_density_of_protein(name: str) -> None:
    model = build_phantom(name)
    assert 95 <= model.diameter <= 350
    tree = cKDTree(model.positions)
    for operator in symmetry_operators(model.symmetry)[:4]:
        distance, _ = tree.query(model.positions[::50] @ operator.T)
        assert distance.max() < 1e-2
    inside = len(np.unique(np.floor(model.positions / 4), axis=0)) * 64 / len(model.positions)
    assert 14 < inside < 24  # Å³ for each heavy atom; surface cells are counted whole


def test_phantom_shows_detail_to_3_angstrom_and_no_lattice() -> None:
    model = build_phantom("monomer")
    grid = Grid(fitting_box(model, 1.0), 1.0)
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 360, (3, 16))
    power = project_atoms(model, euler_matrices(*angles)[:, :2], grid).abs().pow(2).double().mean(dim=0)
    k = torch.hypot(torch.fft.fftfreq(grid.box)[:, None], torch.fft.rfftfreq(grid.box)[None])
    rings = [float(power[(k > low) & (k < low + 0.02)].mean()) for low in np.arange(0.1, 0.42, 0.02)]
    assert rings[10] > 0.02 * rings[0]  # 3.3 Å against 10 Å
    assert max(np.array(rings[1:]) / np.array(rings[:-1])) < 1.35  # no ring stands out from its neighbour


@pytest.mark.parametrize("name", ["asymmetric", "barrel"])
@pytest.mark.slow
def test_mirrored_phantom_does_not_pass_for_it(name: str) -> None:
    """A map of the wrong hand must not fit beyond 30 Å, or a consistent flip of everything would go unnoticed."""
    model = build_phantom(name)
    grid = Grid(fitting_box(model, 4.0), 4.0)
    curve = fourier_shell_correlation(render_map(model, grid), render_map(model.mirrored(), grid))
    beyond = np.arange(len(curve)) / (grid.box * grid.pixel_size) > 1 / 30
    assert float(curve.numpy()[beyond].max()) < 0.3
