"""Rendered frames against physics: signs, places, displacements, damage, noise-free truth."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import CtfModel, ctf_rfft
from magellon.simulation.detector import DETECTORS
from magellon.simulation.ice import ice_phase_spectrum
from magellon.simulation.local_warp import LocalWarp, cubic_response
from magellon.simulation.motion_model import field_points
from magellon.simulation.movie import Renderer, band_limit, plan_canvas
from magellon.simulation.phantoms import AtomicModel, build_phantom
from magellon.simulation.projection import Grid, fitting_box, render_map
from magellon.simulation.scattering import interaction_constant
from magellon.simulation.scene import Cast, denature, sample_movie
from magellon.simulation.spec import MotionRanges, OpticsRanges, SessionSpec, SpecimenRanges
from magellon.simulation.truth import MovieTruth, ParticleTruth

NOTHING = SpecimenRanges(
    broken=(0, 0), denatured=(0, 0), foreign=(0, 0), contamination=(0, 0), carbon=0, beam_edge=0, ice_roughness=(0, 0)
)
SPEC = SessionSpec(
    size=256, frames=4, pixel_size=2.0, resolution=4.0, exposure_per_frame=5.0, specimen=NOTHING,
    optics=OpticsRanges(beam_tilt=(0, 0), envelope_b=(0, 0), astigmatism=(300, 300)),
)  # fmt: skip
PERFECT = replace(DETECTORS["k3"], localisation=0.0)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> object:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def actors() -> Cast:
    model = build_phantom("monomer")
    return Cast((model, denature(model, np.random.default_rng(0)), model), 1)


def one_particle(truth: MovieTruth, x: float, y: float, height: float = 0.0) -> MovieTruth:
    zero = np.zeros(1)
    particles = ParticleTruth(
        zero + x, zero + y, zero, zero, zero, zero + height, np.zeros(1, dtype=np.int64), np.array(["good"]), np.zeros((1, 4))
    )
    return replace(truth, particles=particles)


def render(truth: MovieTruth, models: tuple[AtomicModel, ...], *, ice: bool = False) -> np.ndarray:
    return Renderer(truth, models, PERFECT, 1).exposed(ice=ice)


def expected_image(truth: MovieTruth, model: AtomicModel, defocus_added: float = 0.0) -> np.ndarray:
    """1 + 2 F^-1[ctf F[phase]] of the phantom's map seen along z, in the middle of a periodic field of 256."""
    ctf = truth.ctf
    box = fitting_box(model, 2.0)
    image = torch.zeros(256, 256)
    start = 128 - box // 2
    view = render_map(model, Grid(box, 2.0)).sum(dim=0) * 2.0
    image[start : start + box, start : start + box] = view * interaction_constant(300.0)
    optics = CtfModel(ctf.defocus_u + defocus_added, ctf.defocus_v + defocus_added, ctf.defocus_angle)
    transfer = ctf_rfft(optics, (256, 256), 2.0) * band_limit(SPEC.resolution, *rfft_frequencies((256, 256), 2.0))
    contrast = torch.fft.irfft2(torch.fft.rfft2(image) * transfer, s=(256, 256))
    return (1 + 2 * contrast).numpy()


@pytest.mark.parametrize("height", [0.0, 400.0])
def test_particle_is_imaged_by_its_own_ctf(height: float) -> None:
    """Dark at its place, and the defocus larger by its height."""
    cast = actors()
    truth = one_particle(sample_movie(SPEC, cast, 0), 128.0, 128.0, height)
    image = render(truth, cast.models)
    right, wrong = (expected_image(truth, cast.models[0], sign * height) for sign in (1, -1))
    inner = (slice(64, 192), slice(64, 192))
    agreement = np.corrcoef(image[inner].ravel(), right[inner].ravel())[0, 1]
    assert agreement > 0.995
    if height:
        assert np.corrcoef(image[inner].ravel(), wrong[inner].ravel())[0, 1] < agreement - 0.1
    assert image[120:136, 120:136].mean() < 0.99


def test_particle_moves_as_the_truth_says() -> None:
    cast = actors()
    spec = replace(SPEC, motion=MotionRanges(net=(20, 20), local=(10, 10)), exposure_per_frame=0.5)
    truth = one_particle(sample_movie(spec, cast, 1), 60.0, 190.0)
    frames = [frame.copy() for frame in Renderer(truth, cast.models, PERFECT, 1).frames()]
    moved = replace(
        truth, motion=replace(truth.motion, global_shifts=truth.global_shifts * 0, temporal=truth.motion.temporal * 0)
    )
    d = truth.displacement(truth.particles.points_px, 3)[0] / 2.0
    there = render(one_particle(moved, 60.0 + d[0], 190.0 + d[1]), cast.models)
    here = render(one_particle(moved, 60.0, 190.0), cast.models)
    agreement = [np.corrcoef(frames[3].ravel(), image.ravel())[0, 1] for image in (there, here)]
    assert np.hypot(*d) > 5
    assert agreement[0] > agreement[1] + 0.05


def test_exposure_takes_detail_first() -> None:
    cast = actors()
    still = MotionRanges(net=(0, 0), jitter=(0, 0), local=(0, 0))
    spec = replace(SPEC, motion=still, frames=8, specimen=replace(NOTHING, ice_thickness=(1e-3, 1e-3)))
    truth = sample_movie(spec, cast, 0)
    first, *_, last = (np.abs(np.fft.rfft2(frame)) for frame in Renderer(truth, cast.models, PERFECT, 1).frames())
    k = np.hypot(np.fft.fftfreq(256, 2.0)[:, None], np.fft.rfftfreq(256, 2.0)[None])

    def kept(low: float, high: float) -> float:
        ring = (k > low) & (k < high)
        return float(np.sqrt((last[ring] ** 2).sum() / (first[ring] ** 2).sum()))

    assert kept(1 / 50, 1 / 30) > 0.7
    assert kept(1 / 5.5, 1 / 4.8) < 0.2
    # exp(-35 e/Å² / (2 Ne)) at 8 Å
    assert kept(0.12, 0.13) == pytest.approx(np.exp(-35 / (2 * (0.245 * 0.125**-1.665 + 2.81))), abs=0.05)


def test_ice_has_the_predicted_power() -> None:
    cast = actors()
    truth = sample_movie(replace(SPEC, size=512, specimen=replace(NOTHING, particles=(0, 0))), cast, 0)
    image = render(truth, cast.models, ice=True)
    power = np.abs(np.fft.rfft2(image - image.mean())) ** 2 / image.size * 2.0**2
    k_row, k_column = np.fft.fftfreq(512, 2.0)[:, None], np.fft.rfftfreq(512, 2.0)[None]
    k = np.hypot(k_row, k_column)
    ctf = ctf_rfft(CtfModel(truth.ctf.defocus_u, truth.ctf.defocus_v, truth.ctf.defocus_angle), (512, 512), 2.0).numpy()
    ring = (k > 0.15) & (k < 0.2) & (np.abs(k_row) > 0.01) & (np.abs(k_column) > 0.01)
    predicted = 4 * ctf**2 * ice_phase_spectrum(torch.from_numpy(k), truth.surroundings.ice_thickness, 300).numpy()
    # A mean over the first frame's exposure has lost a little of it.
    assert 0.5 < power[ring].mean() / predicted[ring].mean() < 1.05


def test_warp_moves_content_and_keeps_its_strength() -> None:
    cast = actors()
    spec = replace(SPEC, motion=MotionRanges(net=(0, 0), jitter=(0, 0), local=(9, 9)), resolution=4.0)
    truth = sample_movie(spec, cast, 2)
    canvas = plan_canvas(truth)
    warp = LocalWarp(truth.motion, canvas)
    noise = torch.fft.rfft2(torch.randn(canvas.shape, generator=torch.Generator().manual_seed(1)))
    moved = warp.move(noise.clone(), 3)
    k = torch.hypot(torch.fft.fftfreq(canvas.shape[0])[:, None], torch.fft.rfftfreq(canvas.shape[1])[None])
    for low, high in ((0.05, 0.1), (0.2, 0.25), (0.3, 0.35)):
        ring = (k > low) & (k < high)
        assert float(moved[ring].abs().pow(2).mean() / noise[ring].abs().pow(2).mean()) == pytest.approx(1, abs=0.12)
    # A dot at a point goes to that point plus the displacement.
    points = field_points(truth.shape, 5)[[6, 8, 16, 18]]
    dots = torch.zeros(canvas.shape)
    place = np.rint((points + canvas.offset[::-1]) * canvas.ratio).astype(int)
    soft = torch.exp(-200 * (k**2))
    dots[place[:, 1], place[:, 0]] = 1
    after = torch.fft.irfft2(warp.move(torch.fft.rfft2(dots) * soft, 3), s=canvas.shape)
    shift = truth.motion.local(place / canvas.ratio - canvas.offset[::-1], 3) / canvas.pixel_size
    for (x, y), (dx, dy) in zip(place, shift, strict=True):
        patch = after[y - 16 : y + 17, x - 16 : x + 17].clamp(min=0)
        offsets = torch.arange(-16, 17, dtype=torch.float32)
        assert float((patch.sum(0) * offsets).sum() / patch.sum()) == pytest.approx(dx, abs=0.15)
        assert float((patch.sum(1) * offsets).sum() / patch.sum()) == pytest.approx(dy, abs=0.15)


def test_cubic_response_is_one_without_a_shift() -> None:
    assert torch.allclose(cubic_response(torch.zeros(1), torch.linspace(0, 0.5, 9)), torch.ones(1, 9), atol=1e-6)


def test_canvas_is_no_finer_than_the_resolution_needs() -> None:
    truth = sample_movie(replace(SPEC, size=512, pixel_size=1.0, resolution=4.0), actors(), 0)
    canvas = plan_canvas(truth)
    assert canvas.pixel_size == pytest.approx(2.0)
    assert canvas.shape[0] * 2 == canvas.full_shape[0]
    assert min(canvas.offset) * 1.0 > np.abs(truth.global_shifts).max()
