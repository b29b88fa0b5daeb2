"""How the specimen moves under the beam: one trajectory for the whole field and a smooth local motion about it.

Displacements are of the content, in Å, (x, y), relative to the first frame. Local motion is a sum of temporal modes times
fields made of low-order polynomials and one bell, so that no program's own model fits it exactly. It averages to zero over the
field.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from magellon.simulation.spec import MotionRanges

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """True motion of one movie."""

    shape: tuple[int, int]
    """(height, width) of the field in pixels."""
    global_shifts: Array
    """(frames, 2): mean displacement of each frame."""
    blur: Array
    """(frames, 2): displacement from a frame's beginning to its end."""
    temporal: Array
    """(modes, frames): zero in the first frame."""
    coefficients: Array
    """(modes, 2, 6): of the fields of `local_basis`."""
    bell: tuple[float, float, float]
    """Centre (x, y) and width of the bell, as fractions of the field."""

    @property
    def frames(self) -> int:
        return len(self.global_shifts)

    @property
    def amplitude(self) -> float:
        """Largest local displacement in the field in the last frame, Å."""
        return float(np.linalg.norm(self.local(field_points(self.shape), self.frames - 1), axis=1).max())

    def local(self, points_px: Array, frame: int) -> Array:
        """Local displacement (n, 2) of points (n, 2), (x, y) in pixels, in a frame counted from 0."""
        fields = local_basis(points_px, self.shape, self.bell) @ np.swapaxes(self.coefficients, 1, 2)
        return np.asarray(np.tensordot(self.temporal[:, frame], fields, axes=1))

    def displacement(self, points_px: Array, frame: int) -> Array:
        """Displacement (n, 2) of points (n, 2), (x, y) in pixels, in a frame counted from 0."""
        return np.asarray(self.global_shifts[frame] + self.local(points_px, frame))


def local_basis(points_px: Array, shape: tuple[int, int], bell: tuple[float, float, float]) -> Array:
    """Fields (n, 6) at points (n, 2): x, y, xy, x², y² and a bell, each with mean zero over the field."""
    height, width = shape
    x = points_px[:, 0] / width - 0.5
    y = points_px[:, 1] / height - 0.5
    centre_x, centre_y, spread = bell
    # The bell's mean over the field is the product of two integrals of a Gaussian.
    mean = 1.0
    for centre in (centre_x, centre_y):
        scale = spread * math.sqrt(2)
        mean *= spread * math.sqrt(math.pi / 2) * (math.erf((0.5 - centre) / scale) - math.erf((-0.5 - centre) / scale))
    bump = np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / (2 * spread**2)) - mean
    return np.stack([x, y, x * y, x**2 - 1 / 12, y**2 - 1 / 12, bump], axis=1)


def sample_motion(
    rng: np.random.Generator, ranges: MotionRanges, shape: tuple[int, int], frames: int, exposure: float
) -> Motion:
    """Draw a motion for a movie of `frames` frames of `exposure` e/Å² each."""
    edges = _sample_path(rng, ranges, frames, exposure)
    centres = (edges[1:] + edges[:-1]) / 2 + rng.normal(0, rng.uniform(*ranges.jitter), (frames, 2))
    bell = (float(rng.uniform(-0.4, 0.4)), float(rng.uniform(-0.4, 0.4)), float(rng.uniform(0.25, 0.45)))
    exposures = (np.arange(frames) + 0.5) * exposure
    exposures = exposures - exposures[0]
    total = max(float(exposures[-1]), exposure)
    settling = rng.uniform(*ranges.settling)
    temporal = np.stack([1 - np.exp(-exposures / settling), exposures / total, (exposures / total) ** 2])
    coefficients = rng.normal(0, 1, (3, 2, 6)) * np.array([1, 1, 1.6, 1.6, 1.6, 0.8]) * np.array([1.0, 1.0, 0.5])[:, None, None]
    motion = Motion(shape, centres - centres[0], np.diff(edges, axis=0), temporal, coefficients, bell)
    largest = np.linalg.norm(motion.local(field_points(shape), frames - 1), axis=1).max()
    amplitude = rng.uniform(*ranges.local)
    scaled = coefficients * (amplitude / largest if frames > 1 else 0.0)
    return Motion(shape, motion.global_shifts, motion.blur, temporal, scaled, bell)


def field_points(shape: tuple[int, int], count: int = 9) -> Array:
    """(count², 2): (x, y) in pixels of a grid that covers the field to its edges."""
    height, width = shape
    x, y = np.meshgrid(np.linspace(0, width - 1, count), np.linspace(0, height - 1, count))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _sample_path(rng: np.random.Generator, ranges: MotionRanges, frames: int, exposure: float) -> Array:
    """Positions (frames + 1, 2) at the frames' edges, without jitter: fast at first, then slower, turning a little."""
    middle = (np.arange(frames) + 0.5) * exposure
    speed = 1 + rng.uniform(*ranges.early_excess) * np.exp(-middle / rng.uniform(*ranges.settling))
    # The beam charges and the film bends in the very first exposure: real movies start a little slower.
    speed *= 1 - rng.uniform(0, 0.5) * np.exp(-middle / 1.0)
    turn = np.cumsum(rng.normal(0, math.radians(12) / math.sqrt(max(frames, 1)), frames))
    direction = rng.uniform(0, 2 * math.pi) + turn + math.radians(rng.normal(0, 20)) * np.exp(-middle / 6)
    steps = speed[:, None] * np.stack([np.cos(direction), np.sin(direction)], axis=1)
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    centres = (path[1:] + path[:-1]) / 2
    travelled = np.linalg.norm(centres[-1] - centres[0]) if frames > 1 else 1.0
    net = rng.uniform(*ranges.net)
    return np.asarray(path * (net / travelled if frames > 1 else 0.0))
