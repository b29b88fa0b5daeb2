"""Cameras: what blurs the image, what correlates the noise, what is lost, and what the pixels make of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from magellon.simulation.poisson import PoissonSampler
from magellon.simulation.spec import DetectorRanges

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Detector:
    """Signal and noise are transferred differently: both parts blur the signal, only the spread of charge the noise."""

    name: str
    efficiency: float
    """Fraction of electrons that are recorded."""
    localisation: float
    """An electron is recorded beside where it arrived: signal falls as exp(-localisation w²), w = 1 at Nyquist."""
    charge_spread: float
    """Its charge is shared between pixels: signal and noise fall as exp(-charge_spread w²)."""
    units_per_electron: float
    """What one electron adds to the output."""
    deposit_spread: float
    """Relative standard deviation of what one electron deposits; 0 where electrons are counted."""
    readout_noise: float
    """Output units."""
    frame_rate: float
    """Internal frames per second: two electrons that meet in one are counted once."""

    @property
    def counting(self) -> bool:
        return self.deposit_spread == 0


DETECTORS = {
    "k2": Detector("k2", 0.83, 0.45, 0.03, 1.0, 0.0, 0.0, 400.0),
    "k3": Detector("k3", 0.88, 0.32, 0.02, 1.0, 0.0, 0.0, 1500.0),
    "falcon4": Detector("falcon4", 0.90, 0.30, 0.03, 1.0, 0.0, 0.0, 250.0),
    "falcon": Detector("falcon", 0.95, 0.30, 0.75, 12.0, 0.45, 0.8, 40.0),
}


@dataclass(frozen=True)
class Camera:
    """One real detector: its pixels and what its operator knows of them."""

    detector: Detector
    response: Float
    """(height, width): relative sensitivity of the pixels; 0: dead."""
    gain: Float
    """What the gain reference says: to multiply with, 0 where dead."""
    hot: NDArray[np.int64]
    """(n, 2): (x, y) of hot pixels."""
    hot_rates: Float
    """(n,): electrons they add in each frame."""
    listed: tuple[tuple[int, int, int, int], ...]
    """Defects the list names: x, y, width, height."""
    dose_rate: float
    """Electrons per pixel and second."""
    gain_deviation: float
    gain_error: float


def sample_camera(rng: np.random.Generator, detector: Detector, ranges: DetectorRanges, shape: tuple[int, int]) -> Camera:
    """Draw a camera's pixels: single pixels, columns and tiles that differ, dead and hot ones, a dead column."""
    height, width = shape
    deviation, error = rng.uniform(*ranges.gain), rng.uniform(*ranges.gain_error)
    pixel = rng.standard_normal(shape, dtype=np.float32) * 0.8
    columns = rng.standard_normal((1, width), dtype=np.float32) * 0.3
    coarse = rng.standard_normal((max(2, height // 256), max(2, width // 256)))
    zoom = (height / coarse.shape[0], width / coarse.shape[1])
    tiles = ndimage.zoom(coarse, zoom, order=1, grid_mode=True, mode="nearest")[:height, :width] * 0.5
    response = np.clip(1 + deviation * (pixel + columns + tiles.astype(np.float32)), 0.4, 1.8).astype(np.float32)
    area = height * width / 2048**2
    dead = _sample_pixels(rng, shape, round(rng.uniform(*ranges.dead_pixels) * area))
    hot = _sample_pixels(rng, shape, round(rng.uniform(*ranges.hot_pixels) * area))
    column = int(rng.integers(width))
    response[dead[:, 1], dead[:, 0]] = 0
    gain = np.where(response > 0, 1 / np.maximum(response, 0.1), 0) * (1 + error * rng.standard_normal(shape, dtype=np.float32))
    listed = [(int(x), int(y), 1, 1) for x, y in (*dead[::2], *hot[::2])]
    if ranges.dead_pixels[1] > 0 and height >= 512:
        response[:, column] = 0
        listed.append((column, 0, 1, height))
    return Camera(
        detector,
        response,
        gain.astype(np.float32),
        hot,
        rng.uniform(3, 30, len(hot)).astype(np.float32),
        tuple(sorted(listed)),
        float(rng.uniform(*ranges.dose_rate)),
        float(deviation),
        float(error),
    )


def signal_transfer(detector: Detector, k_row: Tensor, k_column: Tensor) -> Tensor:
    """MTF of everything before the electrons are counted, at frequencies in cycles per pixel."""
    return torch.exp(-detector.localisation * 4 * (k_row**2 + k_column**2))


_STRIP = 64
"""Rows."""


class Recorder:
    """Turns expected electrons into what the camera writes, frame by frame. Draws come from one generator."""

    def __init__(self, camera: Camera, rng: np.random.Generator, mean: float) -> None:
        """`mean`: expected electrons per pixel and frame, about."""
        self.camera = camera
        self.rng = rng
        self.poisson = PoissonSampler(mean)
        detector = camera.detector
        # Of the 3 x 3 pixels about an electron, those whose electrons cannot be told from it.
        self.coincidence = camera.dose_rate / detector.frame_rate / max(mean, 1e-6)
        self.kernel = _charge_kernel(detector.charge_spread)

    def record_frame(self, expected: Float, units: float = 1.0) -> Float | NDArray[np.uint8]:
        """Expected electrons (height, width) to output: whole numbers for counting detectors."""
        camera, detector = self.camera, self.camera.detector
        rate = expected * detector.efficiency
        if detector.counting:
            rate *= camera.response
        np.maximum(rate, 0, out=rate)
        rate[camera.hot[:, 1], camera.hot[:, 0]] += camera.hot_rates
        electrons = self.poisson.draw(rate, self.rng)
        if detector.counting:
            return remove_coincident(electrons, self.coincidence, self.rng)
        return self._integrate(electrons) * units

    def _integrate(self, electrons: NDArray[np.uint8]) -> Float:
        detector = self.camera.detector
        charge = electrons.astype(np.float32)
        charge += np.sqrt(charge) * (detector.deposit_spread * self.rng.standard_normal(charge.shape, dtype=np.float32))
        charge = ndimage.correlate1d(ndimage.correlate1d(charge, self.kernel, axis=0, mode="mirror"), self.kernel, axis=1)
        charge *= self.camera.response * detector.units_per_electron
        charge += detector.readout_noise * self.rng.standard_normal(charge.shape, dtype=np.float32)
        return charge


def remove_coincident(electrons: NDArray[np.uint8], rate: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Lose one of two electrons that meet in one internal frame within about a pixel of each other.

    Args:
        rate: probability that two electrons of one frame lie in the same internal frame.

    Each pixel loses at most one electron of a frame; the probability that it should lose more is negligible at the rates for
    which counting detectors are made. Lost electrons make the noise fall at low frequency, as it does in real cameras.
    """
    padded = np.pad(electrons, 1)
    left = np.empty_like(electrons)
    # Strips that fit into a processor's cache.
    for top in range(0, len(electrons), _STRIP):
        own = electrons[top : top + _STRIP]
        near = padded[top : top + len(own) + 2].astype(np.uint16)
        rows = near[:-2] + near[1:-1] + near[2:]
        pairs = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
        # Where there is no electron the product is zero, so the wrapped difference before it does no harm.
        pairs -= 1
        pairs *= own
        threshold = np.minimum(pairs * np.float32(0.5 * rate * 65536), 65535)
        lost = rng.integers(0, 65536, own.shape, dtype=np.uint16) < threshold
        np.subtract(own, lost, out=left[top : top + _STRIP])
    return left


def draw_defects(listed: Sequence[tuple[int, int, int, int]]) -> str:
    """The text of a defect list: x y width height in each line."""
    return "".join(f"{x} {y} {width} {height}\n" for x, y, width, height in listed)


def _charge_kernel(spread: float) -> NDArray[np.float64]:
    """Nine taps whose transform is exp(-spread w²), w = 1 at Nyquist."""
    w = (np.arange(512) + 0.5) / 512
    taps = (np.exp(-spread * w**2) * np.cos(np.pi * np.arange(-4, 5)[:, None] * w)).mean(axis=1)
    return np.asarray(taps / taps.sum())


def _sample_pixels(rng: np.random.Generator, shape: tuple[int, int], count: int) -> NDArray[np.int64]:
    flat = rng.choice(shape[0] * shape[1], size=count, replace=False)
    return np.stack([flat % shape[1], flat // shape[1]], axis=1)
