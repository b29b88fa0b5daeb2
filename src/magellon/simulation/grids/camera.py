"""From transmission to a recorded picture: illumination, montage tiles, blur, noise, contrast, pixel type."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter

from magellon.simulation.grids.truth import Floats

_HIGHEST = 30_000
"""In a picture of 16 bits: nothing that shows in the exposure is lost to the type of the file."""


@dataclass(frozen=True)
class CameraSettings:
    """How a picture is recorded."""

    dose: float = 400.0
    """Electrons per pixel where nothing stands in the way; the noise is Poisson's."""
    blur: float = 0.5
    """Standard deviation of the point spread, px."""
    gradient: tuple[float, float] = (0.0, 0.0)
    """Relative change of the illumination across the picture along x and y."""
    vignette: float = 0.0
    """How much darker the corners are."""
    stripes: float = 0.0
    """Relative steps between the detector's halves and rows."""
    high_pass: float = 0.0
    """Strength with which slow changes are taken out, as viewers and databases do; 0: none."""
    gamma: float = 1.0
    bits: int = 8
    """8: stretched between percentiles as a JPEG is; 16: counts as integers."""
    seed: int = 0


def draw_camera(rng: np.random.Generator) -> CameraSettings:
    """Settings as they come: anything from a noisy exposure to a clean, sharpened JPEG."""
    tilted = rng.random() < 0.6
    return CameraSettings(
        dose=float(10 ** rng.uniform(1.4, 4)),
        blur=float(rng.uniform(0, 1.1)),
        gradient=(float(rng.normal(0, 0.12)), float(rng.normal(0, 0.12))) if tilted else (0.0, 0.0),
        vignette=float(rng.uniform(0, 0.25)) if rng.random() < 0.4 else 0.0,
        stripes=float(rng.uniform(0, 0.03)) if rng.random() < 0.3 else 0.0,
        high_pass=float(rng.uniform(0.5, 1)) if rng.random() < 0.25 else 0.0,
        gamma=float(rng.uniform(0.6, 1.4)) if rng.random() < 0.5 else 1.0,
        bits=8 if rng.random() < 0.6 else 16,
        seed=int(rng.integers(1 << 31)),
    )


def record_image(transmission: Floats, settings: CameraSettings) -> Floats:
    """The picture of a transmission (height, width) between 0 and about 1, in the values of its file, as float32."""
    rng = np.random.default_rng(settings.seed)
    height, width = transmission.shape
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None]
    light = 1 + settings.gradient[0] * x + settings.gradient[1] * y - settings.vignette * 2 * (x**2 + y**2)
    image = transmission * light.astype(np.float32)
    if settings.blur > 0.2:
        image = gaussian_filter(image, settings.blur)
    counts = np.maximum(image, 0.002) * np.float32(settings.dose)
    noise = rng.standard_normal((height, width), dtype=np.float32)
    counts = counts + np.sqrt(counts) * noise
    if settings.stripes:
        counts = counts * (1 + _draw_stripes(rng, height, width, settings.stripes))
    if settings.high_pass:
        counts = counts - np.float32(settings.high_pass) * uniform_filter(counts, int(max(height, width) / rng.uniform(2, 6)))
    return _store(counts, settings, rng)


def _draw_stripes(rng: np.random.Generator, height: int, width: int, strength: float) -> Floats:
    middle = (np.arange(height) < height // 2).astype(np.float32)[:, None]
    rows = rng.standard_normal((height, 1), dtype=np.float32)
    columns = rng.standard_normal((1, width), dtype=np.float32)
    stripes: Floats = np.float32(strength) * (middle * rng.normal() + 0.15 * rows + 0.15 * columns).astype(np.float32)
    return stripes


def _store(counts: Floats, settings: CameraSettings, rng: np.random.Generator) -> Floats:
    if settings.bits == 16:
        unit = min(10 ** rng.uniform(-0.3, 1.0), _HIGHEST / max(float(np.abs(counts).max()), 1e-6))
        scaled = counts * np.float32(unit) + np.float32(rng.uniform(-100, 500))
        whole: Floats = np.clip(np.rint(scaled), -32768, 32767).astype(np.float32)
        return whole
    low, high = np.percentile(counts[::2, ::2], (rng.uniform(0, 1), rng.uniform(99, 100)))
    span = max(float(high - low), 1e-6)
    share = np.clip((counts - np.float32(low)) / np.float32(span), 0, 1) ** np.float32(settings.gamma)
    top = rng.uniform(180, 255)
    return np.rint(share * np.float32(top)).astype(np.float32) if math.isfinite(span) else np.zeros_like(counts)
