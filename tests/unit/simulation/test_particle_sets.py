"""Simulated stacks hold what their truth says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from magellon.algorithms.optics import ctf_rfft
from magellon.errors import BadInput
from magellon.io.mrc import read_mrc
from magellon.io.star import read_star
from magellon.simulation.invented import find_protein, invent_protein
from magellon.simulation.map_views import MapViews
from magellon.simulation.particle_images import ParticleRenderer, randomise_phases
from magellon.simulation.particle_scene import draw_scene
from magellon.simulation.particle_sets import pick_from_noise, simulate_particles
from magellon.simulation.particle_truth import JUNK_KINDS, ParticleSetSpec, read_particle_truth
from magellon.simulation.phantoms import AtomicModel, build_phantom
from magellon.simulation.projection import Grid, euler_matrices, project_atoms, render_map

TINY = ParticleSetSpec(count=60, proteins=("monomer",), box=32, pixel_size=5.0, per_micrograph=20)


def test_views_of_a_map_are_projections_of_its_atoms() -> None:
    model, grid = build_phantom("monomer"), Grid(48, 3.0)
    frames = euler_matrices(*np.random.default_rng(1).uniform(-180, 180, (3, 4)))[:, :2]
    # Atoms project about pixel 24, views about pixel 0.
    exact = project_atoms(model, frames, grid) * (-1.0) ** (torch.arange(48)[:, None] + torch.arange(25))
    ours = MapViews(render_map(model, grid), 3.0).project(frames)
    resolved = torch.hypot(torch.fft.fftfreq(48)[:, None], torch.fft.rfftfreq(48)) < 0.4
    difference, power = (ours - exact)[:, resolved].abs() ** 2, exact[:, resolved].abs() ** 2
    assert float(difference.sum() / power.sum()) < 1e-3


def test_mass_is_white_where_the_truth_says() -> None:
    """A heavy point far from the centre of the molecule, so that a wrong angle, sign or axis would show."""
    point = np.array([[45.0, 0, 0], [0, 0, 0]], dtype=np.float32)
    model = AtomicModel("pair", np.repeat(point, (40, 1), axis=0), np.zeros(41, dtype=np.int64), ("C",))
    spec = replace(TINY, junk=0.0, neighbours=0.0, snr=1e4, defocus=(3000.0, 3000.0), astigmatism=(0.0, 0.0))
    renderer = ParticleRenderer(spec, [model])
    images, truth = renderer.render(0).numpy(), renderer.scene.truth
    frames = euler_matrices(truth.rot, truth.tilt, truth.psi)[:, :2]
    expected = (frames[:, :, 0] * 45 - truth.origin) / spec.pixel_size + 16
    peaks = np.array([np.unravel_index(image.argmax(), image.shape)[::-1] for image in images])
    assert np.abs(peaks - expected).max() < 1.0


def test_files_are_those_of_an_extraction(tmp_path: Path) -> None:
    made = simulate_particles(tmp_path / "a", TINY)
    simulate_particles(tmp_path / "b", TINY)
    assert all((tmp_path / "b" / path.name).read_bytes() == path.read_bytes() for path in (tmp_path / "a").iterdir())
    stack, tables, truth = read_mrc(made.stack), read_star(made.star), read_particle_truth(tmp_path / "a/truth.star")
    assert stack.shape == (60, 32, 32)
    axis = np.arange(32) - 16
    background = stack[:, axis[:, None] ** 2 + axis**2 > 12**2]
    assert np.abs(background.mean(axis=1)).max() < 1e-5
    assert np.allclose(background.std(axis=1), 1, atol=1e-4)
    assert len(tables["optics"]["rlnOpticsGroup"]) == 2
    assert set(tables["particles"].ints("rlnOpticsGroup")) == {1, 2}
    assert truth.good.sum() == 42
    assert set(truth.kind[~truth.good]) <= set(JUNK_KINDS)
    assert (truth.kind == made.truth.kind).all()
    assert np.allclose(truth.origin, made.truth.origin, atol=1e-5)
    assert "rlnAnglePsi" not in tables["particles"]
    assert set(tables["particles"].floats("rlnOriginXAngst")) == {0.0}


def test_the_ratio_of_signal_to_noise_is_the_one_asked_for() -> None:
    spec = replace(TINY, count=200, junk=0.0, neighbours=0.0, optics_groups=1, snr=0.2, centring_error=0.0)
    model = build_phantom("monomer")
    renderer, images = ParticleRenderer(spec, [model]), np.arange(200)
    transfer = -ctf_rfft(renderer.ctf(images), (48, 48), 5.0) * torch.exp(
        -spec.envelope_b / 4 * (torch.fft.fftfreq(48, 5.0)[:, None] ** 2 + torch.fft.rfftfreq(48, 5.0) ** 2)
    )
    axis = torch.arange(48) - 24
    inside = axis[:, None] ** 2 + axis**2 < (model.diameter / 2 / 5.0) ** 2
    signal = torch.fft.irfft2(renderer._project(images) * transfer, s=(48, 48))[:, inside]
    noise = renderer._draw_noise(images, transfer, torch.Generator().manual_seed(1))
    assert float(signal.var(dim=1).mean() / noise.var()) == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize(("imbalance", "share"), [(1.0, 0.117), (10.0, 0.57)])
def test_imbalance_is_a_ratio_of_densities(imbalance: float, share: float) -> None:
    scene = draw_scene(replace(TINY, count=1500, junk=0.0, view_imbalance=imbalance), np.array([100.0]))
    views = euler_matrices(scene.truth.rot, scene.truth.tilt, scene.truth.psi)[:, 2]
    near = (views @ views.T > np.cos(np.radians(40))).mean(axis=1).max()
    assert near == pytest.approx(share, abs=0.04)


def test_phases_are_random_beyond_a_resolution_and_kept_below() -> None:
    images = torch.randn(6, 32, 32, generator=torch.Generator().manual_seed(3))
    changed = randomise_phases(images, 5.0, 20.0, torch.Generator().manual_seed(4))
    before, after = torch.fft.rfft2(images), torch.fft.rfft2(changed)
    k = torch.hypot(torch.fft.fftfreq(32, 5.0)[:, None], torch.fft.rfftfreq(32, 5.0))
    product = (before * after.conj()).real / (before.abs() * after.abs())
    assert float(product[:, k < 1 / 21].min()) > 0.999
    assert abs(float(product[:, k > 1 / 19].mean())) < 0.1
    assert torch.allclose(before.abs(), after.abs(), atol=1e-3)


def test_boxes_picked_from_noise_average_to_the_template(tmp_path: Path) -> None:
    made = pick_from_noise(tmp_path, replace(TINY, count=256), rotations=1)
    mean = read_mrc(made.stack).mean(axis=0)
    axis = np.arange(32) - 16
    inside = axis[:, None] ** 2 + axis**2 < 10**2
    assert mean[inside].mean() > 0.05
    assert mean[inside].std() > 3 * mean[~inside].std()
    assert set(made.truth.kind) == {"empty"}
    assert set(made.truth.protein) == {-1}


def test_proteins_are_invented_by_seed() -> None:
    first, again, other = (invent_protein(seed, 70.0) for seed in (1, 1, 2))
    assert np.array_equal(first.positions, again.positions)
    assert first.positions.shape != other.positions.shape
    assert first.diameter == pytest.approx(70, rel=0.15)
    assert find_protein("invented:1:70").name == "invented-1"


@pytest.mark.parametrize(
    "wrong", [{"abundances": (1.0, 2.0)}, {"junk_kinds": {"dust": 1.0}}, {"box": 31}, {"junk": 1.5}, {"proteins": ("nobody",)}]
)
def test_refuses_impossible_stacks(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        simulate_particles(tmp_path, replace(TINY, **wrong))
