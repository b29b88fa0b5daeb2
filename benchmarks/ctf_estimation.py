"""CTF estimation: accuracy against simulated truth, and time beside the transform that every program has to make.

The movies do not move, so that the figures are those of the fit alone. CTFFIND has no package; its measured figures are in the
notes, to be scaled by the time of the transform.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.cost import measure_call
from benchmarks.table import Row
from magellon.algorithms.ctf import CtfFit, estimate_ctf, estimate_ctf_from_spectrum
from magellon.algorithms.spectrum import centred_power, periodogram
from magellon.simulation.detector import Recorder
from magellon.simulation.movie import Renderer
from magellon.simulation.scene import sample_movie
from magellon.simulation.session import assemble_cast, make_camera
from magellon.simulation.spec import MotionRanges, OpticsRanges, SessionSpec
from magellon.simulation.truth import CtfTruth

SEED = 20
NOISE = (0.0, 1.0)
"""Noise added to the sums, in standard deviations of their own: thick ice, low exposure."""
CTFFIND = "CTFFIND 5.0.2 took 0.38 CPU s a micrograph where this transform took 0.014 s: 27 transforms"


@dataclass(frozen=True)
class Micrograph:
    """A simulated sum and the sum of the spectra of its parts."""

    image: Tensor
    group_power: Tensor
    pixel_size: float
    truth: CtfTruth


def run(work: Path, quick: bool) -> list[Row]:
    """Simulate, fit, compare."""
    spec = plan_still_session(quick, SEED, (5000, 40000))
    micrographs = simulate_sums(spec)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        transform = time_transform(micrographs[0].image)
        rows = []
        for noise in NOISE:
            data = f"{spec.movies} x {spec.size}², 25 e/Å², 0.5-4 µm, seed {SEED}" + (f", noise +{noise:g} sd" if noise else "")
            noisy = [add_noise(micrograph, noise, seed) for seed, micrograph in enumerate(micrographs)]
            rows.append(fit_all("magellon ctf, sum", data, noisy, fit_sum, transform))
        data = f"{spec.movies} x {spec.size}², 25 e/Å², 0.5-4 µm, seed {SEED}"
        rows.append(fit_all("magellon ctf, group spectrum", data, micrographs, fit_group_power, transform))
        return rows
    finally:
        torch.set_num_threads(threads)


def plan_still_session(quick: bool, seed: int, defocus: tuple[float, float]) -> SessionSpec:
    """Movies of 25 e/Å² that do not move; defocus in Å."""
    return SessionSpec(
        movies=2 if quick else 10,
        size=1024 if quick else 2048,
        frames=12,
        exposure_per_frame=2.08,
        seed=seed,
        motion=MotionRanges(net=(0, 0), jitter=(0, 0), local=(0, 0)),
        optics=OpticsRanges(defocus=defocus),
    )


def fit_sum(micrograph: Micrograph) -> CtfFit:
    return estimate_ctf(micrograph.image, micrograph.pixel_size)


def fit_group_power(micrograph: Micrograph) -> CtfFit:
    return estimate_ctf_from_spectrum(micrograph.group_power, micrograph.pixel_size)


def fit_all(
    program: str, data: str, micrographs: list[Micrograph], fit: Callable[[Micrograph], CtfFit], transform: float
) -> Row:
    """Fit every micrograph after one that warms the tables up."""
    fit(micrographs[0])
    fits, cost = measure_call(lambda: [fit(micrograph) for micrograph in micrographs])
    count = len(micrographs)
    note = f"{cost.cpu_seconds / count / transform:.1f} transforms of {transform * 1e3:.0f} ms each; {CTFFIND}"
    accuracy = compare(fits, [micrograph.truth for micrograph in micrographs])
    return Row("ctf_estimation", program, data, count, cost.seconds / count, cost.cpu_seconds / count, None, accuracy, 1, note)


def compare(fits: list[CtfFit], truths: list[CtfTruth]) -> dict[str, float]:
    """Root mean square errors, and errors over their estimates (1: honest)."""
    defocus, vectors, estimates = [], [], []
    for fit, truth in zip(fits, truths, strict=True):
        u, v, angle = (float(value) for value in (fit.model.defocus_u, fit.model.defocus_v, fit.model.defocus_angle))
        defocus.append((u + v) / 2 - truth.mean_defocus)
        turned = math.radians(2 * angle)
        vectors.append(np.array([math.cos(turned), math.sin(turned)]) * (u - v) - _vector(truth))
        estimates.append((fit.defocus_error, fit.astigmatism_error))
    errors, sigmas, vector = np.array(defocus), np.array(estimates), np.array(vectors)
    return {
        "defocus RMS (Å)": _rms(errors),
        "astigmatism RMS (Å)": _rms(vector) * math.sqrt(2),
        "defocus error/sigma": _rms(errors / sigmas[:, 0]),
        "astigmatism error/sigma": _rms(vector / sigmas[:, 1:]),
        "gross failures": float((np.abs(errors) > 1000).sum()),
        "suspected": float(sum(bool(fit.warnings) for fit in fits)),
    }


def simulate_sums(spec: SessionSpec) -> list[Micrograph]:
    """Sums of simulated frames, gain-corrected, with defects filled."""
    cast, camera = assemble_cast(spec), make_camera(spec)
    gain = torch.from_numpy(camera.gain)
    micrographs = []
    for index in range(spec.movies):
        truth = sample_movie(spec, cast, index)
        renderer = Renderer(truth, cast.models, camera.detector, spec.seed)
        generator = np.random.Generator(np.random.SFC64([spec.seed, 6, index]))
        recorder = Recorder(camera, generator, renderer.exposure * camera.detector.efficiency)
        frames = [torch.from_numpy(np.asarray(recorder.record_frame(frame), np.float32)) * gain for frame in renderer.frames()]
        groups = [fill_defects(first + second, gain) for first, second in zip(frames[::2], frames[1::2], strict=True)]
        power = torch.stack([periodogram(group) for group in groups]).sum(dim=0)
        image = torch.stack(groups).sum(dim=0)
        micrographs.append(Micrograph(image, centred_power(power, spec.shape, 1024), spec.pixel_size, truth.apparent_ctf()))
    return micrographs


def fill_defects(image: Tensor, gain: Tensor) -> Tensor:
    """Dead and hot pixels become the mean."""
    mean, deviation = image.mean(), image.std()
    return torch.where((gain == 0) | ((image - mean).abs() > 8 * deviation), mean, image)


def add_noise(micrograph: Micrograph, amount: float, seed: int) -> Micrograph:
    noise = torch.randn(micrograph.image.shape, generator=torch.Generator().manual_seed(seed))
    image = micrograph.image + amount * micrograph.image.std() * noise
    return replace(micrograph, image=image)


def time_transform(image: Tensor) -> float:
    """Processor seconds of one forward transform."""
    torch.fft.rfft2(image)
    start = time.process_time()
    for _ in range(10):
        torch.fft.rfft2(image)
    return (time.process_time() - start) / 10


def _vector(truth: CtfTruth) -> np.ndarray:
    turned = math.radians(2 * truth.defocus_angle)
    return np.array([math.cos(turned), math.sin(turned)]) * (truth.defocus_u - truth.defocus_v)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
