"""Small micrographs with known particles, made from the CTF model alone."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.optics import CtfModel, ctf_rfft


@dataclass(frozen=True)
class Scenery:
    """A micrograph and where its particles are, (n, 2) as (x, y)."""

    image: Tensor
    points: np.ndarray
    pixel_size: float
    diameter: float
    ctf: CtfModel
    particle: Tensor
    """One projection of the particle, (n, n), at 4 Å/px."""

    def match(self, coordinates: Tensor) -> tuple[float, float, float]:
        """Precision, recall, and median distance in diameters, of particles that lie wholly inside."""
        found = coordinates.numpy()
        height, width = self.image.shape
        margin = 0.5 * self.diameter / self.pixel_size
        x, y = self.points[:, 0], self.points[:, 1]
        inside = (x > margin) & (x < width - margin) & (y > margin) & (y < height - margin)
        distance = np.linalg.norm(found[:, None] - self.points[None], axis=2) * self.pixel_size / self.diameter
        near = distance.min(axis=1) < 0.35 if len(found) else np.zeros(0, bool)
        seen = distance.min(axis=0)[inside] < 0.35 if len(found) else np.zeros(int(inside.sum()), bool)
        return float(near.mean()), float(seen.mean()), float(np.median(distance.min(axis=0)[inside]))


def fill_shape(kind: str, diameter: float, rng: np.random.Generator) -> np.ndarray:
    """(3000, 3) points in a body of this longest extent, Å."""
    radius = diameter / 2
    points = rng.uniform(-1, 1, (60000, 3))
    r = np.linalg.norm(points, axis=1)
    inside = {
        "ball": r < 1,
        "shell": (r < 1) & (r > 0.72),
        "slender": points[:, 2] ** 2 + (points[:, 0] / 0.45) ** 2 + (points[:, 1] / 0.5) ** 2 < 1,
    }[kind]
    return points[inside][:3000] * radius


def turn(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.diag(r))


@pytest.fixture(scope="session")
def make_scenery() -> Callable[..., Scenery]:
    """A function that makes a micrograph: shape, count, diameter, pixel size, defocus, strength, crystal, carbon, seed."""

    def make(
        kind: str = "ball", count: int = 40, *, diameter: float = 150.0, pixel_size: float = 2.0, defocus: float = 15000.0,
        strength: float = 1.0, size: int = 768, crystal: bool = False, carbon: bool = False, seed: int = 1,
    ) -> Scenery:  # fmt: skip
        rng = np.random.default_rng(seed)
        pad = 64
        full = size + 2 * pad
        body = fill_shape(kind, diameter, rng)
        points: list[np.ndarray] = []
        while len(points) < count * (full / size) ** 2:
            assert len(points) * (0.9 * diameter / pixel_size) ** 2 < 0.6 * full**2, "too crowded for random placing"
            point = rng.uniform(0, full, 2)
            if all(np.linalg.norm(point - other) > 0.9 * diameter / pixel_size for other in points):
                points.append(point)
        mass = np.zeros((full, full))
        for point in points:
            x, y = (np.rint((body @ turn(rng).T)[:, :2] / pixel_size + point).astype(int)).T
            inside = (x >= 0) & (x < full) & (y >= 0) & (y < full)
            np.add.at(mass, (y[inside], x[inside]), 0.6 * strength * (diameter / 150) ** 2 / pixel_size**2)
        yy, xx = np.mgrid[:full, :full]
        if crystal:
            mass += 1.5 * np.sqrt(
                np.clip(1 - ((xx - full * 0.3) ** 2 + (yy - full * 0.35) ** 2) / (180 / pixel_size) ** 2, 0, 1)
            )
        if carbon:
            mass += np.where(xx + 0.3 * yy > 0.8 * full, 0.8 + rng.normal(size=mass.shape) * 0.1 / pixel_size, 0)
        ctf = CtfModel(defocus + 150, defocus - 150, 30.0)
        k_row, k_column = rfft_frequencies((full, full), pixel_size)
        falloff = torch.exp(-30 * (k_row**2 + k_column**2))
        signal = torch.fft.irfft2(
            torch.fft.rfft2(torch.from_numpy(mass)) * ctf_rfft(ctf, (full, full), pixel_size) * falloff, s=(full, full)
        ).numpy()
        slope = 1 + 0.04 * xx / full - 0.03 * yy / full + 0.02 * np.sin(4 * yy / full)
        rate = 40 * pixel_size**2 * np.maximum((1 + signal) * slope * np.exp(-0.25 * crystal * (mass > 0.5)), 0.02)
        image = rng.poisson(rate)[pad:-pad, pad:-pad].astype(np.float32)
        box = 2 * math.ceil(0.75 * diameter / 4)
        particle = np.zeros((box, box), dtype=np.float32)
        x, y = np.rint(body[:, :2] / 4).astype(int).T + box // 2
        np.add.at(particle, (y, x), 1)
        return Scenery(
            torch.from_numpy(image),
            np.array(points).reshape(-1, 2) - pad,
            pixel_size,
            diameter,
            ctf,
            torch.from_numpy(particle),
        )

    return make
