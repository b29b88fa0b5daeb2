"""Projections straight from atoms, and their conventions."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from magellon.io.mrc import read_mrc, write_mrc
from magellon.simulation.phantoms import AtomicModel, build_phantom
from magellon.simulation.projection import Grid, euler_matrices, fast_size, fitting_box, project_atoms, render_map
from magellon.simulation.scattering import form_factors_in_ice


def point(*position: float) -> AtomicModel:
    return AtomicModel("point", np.array([position], dtype=np.float32), np.zeros(1, dtype=np.int64), ("C",), b_factor=60.0)


def project(model: AtomicModel, rot: float, tilt: float, psi: float, grid: Grid) -> torch.Tensor:
    frames = euler_matrices(np.array([rot]), np.array([tilt]), np.array([psi]))[:, :2]
    return torch.fft.irfft2(project_atoms(model, frames, grid), s=(grid.box, grid.box))[0]


def centroid(image: torch.Tensor) -> tuple[float, float]:
    weights = image.clamp(min=0.2 * float(image.max())) - 0.2 * image.max()
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in image.shape), indexing="ij")
    return float((weights * x).sum() / weights.sum()), float((weights * y).sum() / weights.sum())


@pytest.mark.parametrize("psi", [0.0, 37.0, -120.0])
def test_psi_turns_as_the_conventions_say(psi: float) -> None:
    x, y = centroid(project(point(20, 5, 7), 0, 0, psi, Grid(64, 1.5)))
    c, s = np.cos(np.radians(psi)), np.sin(np.radians(psi))
    assert (x - 32) * 1.5 == pytest.approx(20 * c + 5 * s, abs=0.15)
    assert (y - 32) * 1.5 == pytest.approx(-20 * s + 5 * c, abs=0.15)


def test_matrices_are_rotations_of_zyz_angles() -> None:
    angles = np.random.default_rng(1).uniform(-180, 180, (3, 5))
    matrices = euler_matrices(*angles)
    assert np.allclose(matrices @ np.swapaxes(matrices, 1, 2), np.eye(3))
    assert np.allclose(np.linalg.det(matrices), 1)
    # The view direction is (rot, tilt) in spherical coordinates.
    rot, tilt = np.radians(angles[0]), np.radians(angles[1])
    expected = np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], axis=1)
    assert np.allclose(matrices[:, 2], expected)


def test_projection_has_the_scattering_of_its_atoms() -> None:
    grid = Grid(48, 1.0)
    transform = project_atoms(point(0, 0, 0), np.eye(3)[None, :2], grid)[0]
    k = torch.fft.rfftfreq(48)
    expected = form_factors_in_ice(("C",), k**2, 60.0)[0]
    # Centred at [24, 24], so rows and columns alternate in sign.
    measured = transform[0] * (-1.0) ** torch.arange(25)
    # An atom on a grid point is not spread at all, the worst case of the correction that is right on average.
    assert torch.allclose(measured[:15].real, expected[:15], rtol=0.09, atol=0.05)
    assert torch.allclose(measured[:6].real, expected[:6], rtol=0.015, atol=0.05)
    assert float(measured.imag.abs().max()) < 0.05


def test_map_and_projection_agree() -> None:
    model = build_phantom("monomer")
    grid = Grid(fitting_box(model, 2.0), 2.0)
    volume = render_map(model, grid)
    along_z = project(model, 0, 0, 0, grid)
    assert torch.allclose(volume.sum(dim=0) * 2.0, along_z, atol=1e-3 * float(along_z.max()))
    # rot 0, tilt 90: the view along x; image x is -z, image y is y.
    along_x = project(model, 0, 90, 0, grid)
    expected = torch.roll(volume.sum(dim=2).flip(0), 1, 0).T * 2.0
    assert torch.allclose(along_x[1:, 1:], expected[1:, 1:], atol=1e-3 * float(along_x.max()))


def test_broken_particles_lose_atoms() -> None:
    model = build_phantom("monomer")
    grid = Grid(fitting_box(model, 1.5), 1.5)
    frames = np.repeat(np.eye(3)[None, :2], 2, axis=0)
    kept = np.ones((2, len(model.positions)), dtype=bool)
    kept[1] = model.positions[:, 0] < 0
    whole, half = torch.fft.irfft2(project_atoms(model, frames, grid, kept), s=(grid.box, grid.box))
    assert float(half[:, grid.box // 2 + 6 :].abs().max()) < 0.05 * float(whole.max())
    assert torch.allclose(half[:, : grid.box // 2 - 6], whole[:, : grid.box // 2 - 6], atol=0.02 * float(whole.max()))


def test_no_particles_give_an_empty_stack() -> None:
    assert project_atoms(point(0, 0, 0), np.zeros((0, 2, 3)), Grid(32, 1.0)).shape == (0, 32, 17)


def test_fast_size() -> None:
    assert [fast_size(n) for n in (1, 97, 2049, 2160)] == [2, 100, 2160, 2160]


@pytest.mark.relion
@pytest.mark.parametrize("angles", [(30.0, 65.0, 110.0), (-140.0, 20.0, -75.0), (10.0, 160.0, 0.0)])
def test_projection_is_that_of_relion(tmp_path: Path, angles: tuple[float, float, float]) -> None:
    """relion_project of the map gives our projection of the atoms, and not that of the mirror image."""
    if shutil.which("relion_project") is None:
        pytest.skip("RELION is not installed")
    model = build_phantom("monomer")
    grid = Grid(fitting_box(model, 2.0), 2.0)
    write_mrc(tmp_path / "map.mrc", render_map(model, grid).numpy(), 2.0)
    rot, tilt, psi = (str(angle) for angle in angles)
    subprocess.run(
        ["relion_project", "--i", "map.mrc", "--o", "view.mrc", "--angpix", "2", "--rot", rot, "--tilt", tilt, "--psi", psi],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    theirs = read_mrc(tmp_path / "view.mrc").ravel()
    ours = project(model, *angles, grid).numpy().ravel()
    mirrored = project(model.mirrored(), *angles, grid).numpy().ravel()
    assert np.corrcoef(ours, theirs)[0, 1] > 0.985  # RELION interpolates its transform
    assert np.corrcoef(mirrored, theirs)[0, 1] < 0.9
