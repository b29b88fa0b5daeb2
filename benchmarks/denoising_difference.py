"""What a denoiser took away: the micrograph less its denoised self, which should be the noise, all of it and nothing else."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from magellon.algorithms.fourier import rfft_frequencies
from magellon.io.picture import contrast, shrink, write_png

Image = NDArray[np.float32]
PANEL = 640
"""Side of each panel of a picture, pixels at most."""
SMOOTHING = 20.0
"""Å over which the noise of the panels with noise is averaged, so that structure in it shows."""
RINGS = 64


def record(noisy: Image, exposure: Image, shown: Image) -> Image:
    """`shown`, in the units of `exposure`, as the camera would have recorded it without noise.

    The camera passes fine detail weakly: as weakly as the micrograph is regressed on its noise-free exposure, ring by ring.
    """
    recorded, truth, wanted = (np.fft.rfft2(each - each.mean(dtype=np.float64)) for each in (noisy, exposure, shown))
    k_row, k_column = rfft_frequencies((noisy.shape[0], noisy.shape[1]))
    ring = np.minimum((torch.sqrt(k_row**2 + k_column**2).numpy() * 2 * RINGS).astype(np.int64), RINGS - 1)
    both = np.bincount(ring.ravel(), (recorded * truth.conj()).real.ravel(), minlength=RINGS)
    own = np.bincount(ring.ravel(), (np.abs(truth) ** 2).ravel(), minlength=RINGS)
    shown_so = np.fft.irfft2(wanted * (both / own)[ring], s=noisy.shape) + noisy.mean(dtype=np.float64)
    return np.asarray(shown_so, dtype=np.float32)


def measure_difference(image: Image, noisy: Image, exposure: Image, particles: Image) -> dict[str, float]:
    """Correlation of the difference image with the particles, and how much of them it holds.

    Per cent, both 0 where exactly the noise is taken away; the second is 100 where the particles are gone altogether, and
    below 0 where the output shows more of them than is there.
    """
    difference = (noisy - image).astype(np.float64)
    wanted = record(noisy, exposure, particles).astype(np.float64)
    wanted -= wanted.mean()
    correlation = float(np.corrcoef(difference.ravel(), wanted.ravel())[0, 1])
    held = float((difference * wanted).sum() / (wanted**2).sum())
    return {"difference ~ particles (%)": 100 * correlation, "particles in difference (%)": 100 * held}


def measure_taken(image: Image, noisy: Image, exposure: Image) -> float:
    """Variance of the difference image relative to that of the noise that was there; on ice without particles."""
    return float((noisy - image).var()) / float((noisy - record(noisy, exposure, exposure)).var())


def write_panels(path: Path, noisy: Image, exposure: Image, outputs: Sequence[Image], pixel_size: float) -> None:
    """The micrograph beside the noise-free exposure, then each output beside what it took away, a row each.

    Micrograph and differences are mostly noise, so they are smoothed over `SMOOTHING`. Each panel has a contrast of its own.
    """
    sigma = SMOOTHING / pixel_size / 2.355
    truth = record(noisy, exposure, exposure)
    rows = [(gaussian_filter(noisy, sigma), truth), *((each, gaussian_filter(noisy - each, sigma)) for each in outputs)]
    panels = [np.concatenate([contrast(shrink(each, PANEL)) for each in row], axis=1) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.concatenate(panels, axis=0))
