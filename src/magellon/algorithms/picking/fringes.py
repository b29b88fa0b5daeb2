"""Fringes along the beam's edge, taken out of a micrograph before anything is looked for in it.

The edge of an aperture is a circle, and its Fresnel fringes run along it: how bright the beam is there depends on the distance
from the edge alone. The median over all places of one distance knows that, as no particle lies all along an edge; divided by
it, the image is as if it were lit evenly.
"""

import math
from dataclasses import astuple, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from magellon.algorithms.picking.field import smooth

Array = NDArray[np.float64]
SIGMA = 2.0
"""Cells: blur at which the edge is looked for."""
DARK = 0.25
"""Brightness, from the darkest to the ice, that places beyond the beam do not reach."""
LEAST_DARK, MOST_DARK = 0.005, 0.6
"""Part of the field beyond the beam."""
QUIET = 0.3
"""Noise beyond the beam over that of the ice: without light there is no shot noise. A film's edge has 0.8 and more."""
LEAST_EDGE = 48
"""Crossings of an edge between cells, of three diameters at least, that are needed to know its circle."""
LEAST_RADIUS = 64.0
"""Cells, four diameters: a smaller circle is no beam's."""
STRAY, AGREE = 1.0, 0.6
"""Cells by which an edge may miss its circle, and the part of it that must not. The rest may have a crystal on it."""
ROUNDS = 20
BIN, FEWEST = 0.5, 48
"""Cells of distance over which a median is taken, and how many places it needs."""
LIT = 0.5
"""Brightness, relative to the ice's, from which on a place is in the beam."""


@dataclass(frozen=True)
class Circle:
    """Where a (y² + x²) + b y + c x + d is 0, of any radius: straight where a is 0."""

    a: float
    b: float
    c: float
    d: float

    @property
    def slope(self) -> float:
        """Of the left side where it is 0."""
        return math.sqrt(max(self.b**2 + self.c**2 - 4 * self.a * self.d, 0.0))

    @property
    def radius(self) -> float:
        return self.slope / max(2 * abs(self.a), 1e-12)

    def distance(self, y: Array, x: Array) -> Array:
        """Of places from the circle, above 0 where the left side is."""
        value = self.a * (y**2 + x**2) + self.b * y + self.c * x + self.d
        slope = np.hypot(2 * self.a * y + self.b, 2 * self.a * x + self.c)
        return np.asarray(2 * value / (self.slope + slope))


def even_beam(image: Tensor) -> Tensor:
    """An image (height, width) without the fringes along the beam's edge; the same one where it shows no such edge.

    Args:
        image: at the network's scale, in any linear unit of light from any zero.
    """
    level = smooth(image, SIGMA).to(torch.float64).cpu().numpy()
    lowest, ice = np.quantile(level[::2, ::2], (0.001, 0.75))
    dark = level < lowest + DARK * (ice - lowest)
    if not LEAST_DARK < dark.mean() < MOST_DARK:
        return image
    edge = find_edge(level, dark, float(lowest + ice) / 2)
    if edge is None:
        return image
    values = image.to(torch.float64).cpu().numpy()
    y, x = np.mgrid[: values.shape[0], : values.shape[1]].astype(np.float64)
    even = _divide(values, edge.distance(y, x))
    return image if even is None else torch.from_numpy(even).to(image)


def find_edge(level: Array, dark: NDArray[np.bool_], half: float) -> Circle | None:
    """The circle about or beyond the largest dark part that reaches the image's border; distances are above 0 in the light.

    Args:
        level: (height, width), smooth.
        dark: (height, width), surely beyond the edge.
        half: the level at the edge.
    """
    labels, count = ndimage.label(dark)
    reaching = np.setdiff1d(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]), [0])
    if not len(reaching):
        return None
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    part = labels == reaching[sizes[reaching].argmax()]
    points = _find_crossings(level, ndimage.binary_dilation(part, iterations=round(4 * SIGMA)), half)
    if len(points) < LEAST_EDGE:
        return None
    kept = np.ones(len(points), dtype=bool)
    for _ in range(ROUNDS):
        circle = fit_circle(points[kept])
        stray = np.abs(circle.distance(points[:, 0], points[:, 1]))
        kept = stray <= max(STRAY, 2.5 * float(np.median(stray)))
    agree = stray <= STRAY
    if agree.mean() < AGREE or agree.sum() < LEAST_EDGE or circle.radius < LEAST_RADIUS:
        return None
    y, x = np.nonzero(part)
    inwards = float(np.median(circle.distance(y.astype(np.float64), x.astype(np.float64)))) < 0
    return circle if inwards else Circle(*(-each for each in astuple(circle)))


def _find_crossings(level: Array, near: NDArray[np.bool_], value: float) -> Array:
    """Points (n, 2), (y, x), between neighbouring cells of which one is below a value, where the level has it."""
    found = []
    for axis in (0, 1):
        one, other = (np.moveaxis(level, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        at = np.nonzero(((one < value) != (other < value)) & np.moveaxis(near, axis, 0)[:-1])
        points = np.stack(at, axis=1).astype(np.float64)
        points[:, 0] += (value - one[at]) / (other[at] - one[at])
        found.append(points if axis == 0 else points[:, ::-1])
    return np.concatenate(found)


def fit_circle(points: Array) -> Circle:
    """The circle or line nearest to points (n, 2), (y, x), also of a short arc (Taubin 1991, doi:10.1109/34.103273)."""
    middle_y, middle_x = points.mean(axis=0)
    y, x = points[:, 0] - middle_y, points[:, 1] - middle_x
    square = y**2 + x**2
    unit = 2 * math.sqrt(max(float(square.mean()), 1e-12))
    design = np.stack([(square - square.mean()) / unit, y, x], axis=1)
    a, b, c = (float(each) for each in np.linalg.svd(design, full_matrices=False)[2][2])
    a /= unit
    d = -a * float(square.mean())
    return Circle(
        a,
        b - 2 * a * middle_y,
        c - 2 * a * middle_x,
        a * (middle_y**2 + middle_x**2) - b * middle_y - c * middle_x + d,
    )


def _divide(image: Array, distance: Array) -> Array | None:
    """The image over the beam's brightness where it is lit; None if what is beyond its edge is not dark for want of light."""
    beyond = image[distance < -4 * SIGMA]
    if len(beyond) < FEWEST or _measure_noise(image, distance < -4 * SIGMA) > QUIET * _measure_noise(image, distance > 0):
        return None
    dark = float(np.median(beyond))
    middle, profile, counts = _measure_profile(image, distance)
    known = counts >= FEWEST
    if not (known & (middle > 0)).any():
        return None
    ice = float(np.average(profile[known & (middle > 0)], weights=counts[known & (middle > 0)]))
    brightness = (profile - dark) / (ice - dark)
    lit = np.flatnonzero(known & (brightness > LIT) & (middle > -4 * SIGMA))
    if not len(lit):
        return None
    known &= middle >= middle[lit[0]]
    gain = np.where(distance >= middle[lit[0]], np.interp(distance, middle[known], brightness[known]), 1.0)
    return np.asarray(dark + (image - dark) / gain)


def _measure_noise(image: Array, where: NDArray[np.bool_]) -> float:
    """Of what differs between neighbouring cells both ways, the median size."""
    fine = image[1:, 1:] - image[1:, :-1] - image[:-1, 1:] + image[:-1, :-1]
    chosen = np.abs(fine[where[1:, 1:]])
    return float(np.median(chosen)) if len(chosen) else math.inf


def _measure_profile(image: Array, distance: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Middles of bins of distance, medians of the image there, and how many places each is of; none is empty."""
    number = np.floor(distance.ravel() / BIN).astype(np.int64)
    order = np.argsort(number, kind="stable")
    bins, starts, counts = np.unique(number[order], return_index=True, return_counts=True)
    medians = [float(np.median(values)) for values in np.split(image.ravel()[order], starts[1:])]
    return np.asarray((bins + 0.5) * BIN, dtype=np.float64), np.array(medians, dtype=np.float64), counts.astype(np.int64)
