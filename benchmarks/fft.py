"""Power-spectrum pictures: how well their rings are those of the true CTF, and time beside the transform they need."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.cost import measure_call
from benchmarks.ctf_estimation import Micrograph, plan_still_session, simulate_sums, time_transform
from benchmarks.table import Row
from magellon.algorithms.optics import CtfModel, ctf_phase
from magellon.backends.fft.backend import FftParams, PowerSpectrum
from magellon.contracts import Context, FftInput
from magellon.contracts import Micrograph as MicrographFile
from magellon.io.mrc import write_mrc

SEED = 30
BANDS = ((20.0, 8.0), (8.0, 5.0))
"""Å: the rings everybody sees, and those that only a good picture shows."""


def run(work: Path, quick: bool) -> list[Row]:
    """Simulate sums that do not move, draw their spectra, compare with the rings of the truth."""
    spec = plan_still_session(quick, SEED, (8000, 25000))
    micrographs = simulate_sums(spec)
    inputs = [write_input(micrograph, work / f"m{number}.mrc") for number, micrograph in enumerate(micrographs)]
    transform = time_transform(micrographs[0].image)
    backend, params, context = PowerSpectrum(), FftParams(), Context(workdir=work)
    backend.run(inputs[0], params, context)
    outputs, cost = measure_call(lambda: [backend.run(each, params, context) for each in inputs])
    seen = np.array([correlate(output.picture, each, params) for output, each in zip(outputs, micrographs, strict=True)])
    accuracy = {
        f"rings of {low:g}-{high:g} Å, correlation": value for (low, high), value in zip(BANDS, seen.mean(0), strict=True)
    }
    count = len(inputs)
    data = f"{count} x {spec.size}², 25 e/Å², 0.8-2.5 µm, seed {SEED}"
    note = f"{cost.cpu_seconds / count / transform:.1f} transforms of {transform * 1e3:.0f} ms each, file to file"
    seconds, cpu = cost.seconds / count, cost.cpu_seconds / count
    return [Row("fft", "magellon fft", data, count, seconds, cpu, None, accuracy, torch.get_num_threads(), note)]


def write_input(micrograph: Micrograph, path: Path) -> FftInput:
    image = micrograph.image.numpy()
    write_mrc(path, image, micrograph.pixel_size)
    return FftInput(
        micrograph=MicrographFile(
            name=path.stem, path=path, pixel_size=micrograph.pixel_size, shape=(len(image), len(image[0]))
        )
    )


def correlate(picture: Path, micrograph: Micrograph, params: FftParams) -> list[float]:
    """Correlation of the picture with the squared sine of the true phase, in each of `BANDS`."""
    with Image.open(picture) as opened:
        shown = torch.from_numpy(np.array(opened, dtype=np.float64))
    size = len(shown)
    highest = min(1 / params.max_resolution, 1 / (2 * micrograph.pixel_size))
    axis = (torch.arange(size, dtype=torch.float64) - size // 2) * 2 * highest / size
    k = torch.hypot(axis[:, None], axis[None, :])
    truth = micrograph.truth
    model = CtfModel(truth.defocus_u, truth.defocus_v, truth.defocus_angle, truth.phase_shift)
    rings = -torch.cos(2 * ctf_phase(model, k**2, torch.atan2(axis[:, None], axis[None, :])))
    return [
        float(torch.corrcoef(torch.stack([shown[band], rings[band]]))[0, 1])
        for low, high in BANDS
        for band in [(k > 1 / low) & (k < 1 / high)]
    ]
