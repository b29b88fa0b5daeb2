"""Outputs against the truth: errors of motion and CTF, precision and recall of picks, in the units a person reads.

Arrays and records in, numbers out; the readers take RELION's STAR files as this project and RELION write them.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from magellon.errors import BadInput
from magellon.io.star import StarTable, read_star
from magellon.simulation.motion_model import field_points
from magellon.simulation.truth import CtfTruth, MovieTruth

Array = NDArray[np.float64]


class Displacement(Protocol):
    """What `MotionEstimate` and `MovieTruth` share."""

    def displacement(self, points_px: Array, frame: int) -> Array: ...


@dataclass(frozen=True)
class MotionEstimate:
    """Motion as a STAR file of RELION's states it, turned into displacements in Å."""

    global_shifts: Array
    """(frames, 2), (x, y), relative to the first frame."""
    coefficients: Array | None
    """(2, 6, 3) in unbinned pixels of correction, for [1, x, x², y, y², xy] and z, z², z³."""
    shape: tuple[int, int]
    pixel_size: float

    def displacement(self, points_px: Array, frame: int) -> Array:
        """(n, 2) in Å at points (n, 2), (x, y) in unbinned pixels, in a frame counted from 0."""
        total = np.repeat(self.global_shifts[frame][None], len(points_px), axis=0)
        if self.coefficients is None:
            return total
        x = points_px[:, 0] / self.shape[1] - 0.5
        y = points_px[:, 1] / self.shape[0] - 0.5
        space = np.stack([np.ones_like(x), x, x**2, y, y**2, x * y], axis=1)
        time = np.array([frame, frame**2, frame**3], dtype=np.float64)
        return np.asarray(total - self.pixel_size * (space @ (self.coefficients @ time).T))


def read_motion(path: Path | str) -> MotionEstimate:
    """Read a motion STAR file (`rlnMicrographShiftX/Y` and, if present, the local model).

    Raises:
        BadInput: not a motion STAR file.
    """
    tables = read_star(path)
    try:
        general, shifts = tables["general"], tables["global_shift"]
        pixel_size = float(general["rlnMicrographOriginalPixelSize"][0])
        shape = (int(general["rlnImageSizeY"][0]), int(general["rlnImageSizeX"][0]))
        columns = [np.array(shifts[label], dtype=np.float64) for label in ("rlnMicrographShiftX", "rlnMicrographShiftY")]
        version = int(float(general["rlnMotionModelVersion"][0])) if "rlnMotionModelVersion" in general else 0
        model = tables.get("local_motion_model")
        coefficients = None
        if version == 1 and model is not None:
            coefficients = np.array(model["rlnMotionModelCoeff"], dtype=np.float64).reshape(2, 6, 3)
    except (KeyError, IndexError, ValueError) as error:
        raise BadInput(f"{path}: not the motion of a movie: {error!r}") from error
    correction = np.stack(columns, axis=1)
    return MotionEstimate(-(correction - correction[0]) * pixel_size, coefficients, shape, pixel_size)


@dataclass(frozen=True)
class MotionScore:
    """Root mean square errors in Å, one constant vector for the movie removed."""

    global_rms: float
    """Of the mean displacement of each frame."""
    field_rms: float
    """Of the displacement at points over the whole field."""
    still_rms: float
    """What the field's error would be without any local motion: the true global shifts alone."""


def score_motion(truth: MovieTruth, estimate: Displacement, points_px: Array | None = None) -> MotionScore:
    """Compare an estimate with the truth at points (n, 2) in unbinned pixels (default: the particles in the field)."""
    if points_px is None:
        points_px = truth.particles.points_px[truth.particles.inside(truth.shape)]
    everywhere = field_points(truth.shape, 21)
    frames = range(truth.frames)
    measured = np.stack([estimate.displacement(everywhere, frame).mean(axis=0) for frame in frames])
    true = np.stack([truth.displacement(everywhere, frame).mean(axis=0) for frame in frames])
    field = np.stack([estimate.displacement(points_px, frame) - truth.displacement(points_px, frame) for frame in frames])
    local = np.stack([truth.motion.local(points_px, frame) for frame in frames])
    return MotionScore(_spread(measured - true), _spread(field), _spread(local))


def _spread(error: Array) -> float:
    """Root mean square length of vectors (..., 2) about their mean."""
    flat = error.reshape(-1, 2)
    if not len(flat):
        return 0.0
    return float(np.sqrt(((flat - flat.mean(axis=0)) ** 2).sum(axis=1).mean()))


@dataclass(frozen=True)
class CtfScore:
    """Root mean square errors over some micrographs."""

    micrographs: int
    defocus_rms: float
    """Of the mean defocus, Å."""
    astigmatism_rms: float
    """Length of the difference of astigmatism vectors, Å."""
    phase_shift_rms: float
    """Degrees, modulo 180."""
    failed: int
    """Mean defocus wrong by more than 10 % and 300 Å."""


def score_ctfs(pairs: Iterable[tuple[MovieTruth, CtfTruth]]) -> CtfScore:
    """Compare fits with what a perfect fit would find (`MovieTruth.apparent_ctf`)."""
    rows = []
    for truth, fit in pairs:
        true = truth.apparent_ctf()
        defocus = fit.mean_defocus - true.mean_defocus
        phase = (fit.phase_shift - true.phase_shift + 90) % 180 - 90
        failed = abs(defocus) > max(300.0, 0.1 * true.mean_defocus)
        rows.append((defocus**2, ((fit.astigmatism_vector - true.astigmatism_vector) ** 2).sum(), phase**2, failed))
    if not rows:
        return CtfScore(0, math.nan, math.nan, math.nan, 0)
    mean = np.sqrt(np.array(rows, dtype=np.float64).mean(axis=0))
    return CtfScore(len(rows), float(mean[0]), float(mean[1]), float(mean[2]), sum(bool(row[3]) for row in rows))


@dataclass(frozen=True)
class PickScore:
    """Picks against true particles. Add scores of micrographs with `+`."""

    true_positives: int
    false_positives: int
    missed: int
    duplicates: int
    """Those of the false positives that lie on a particle another pick already has."""
    obscured: int
    """Those of the false positives on carbon, contamination or outside the beam."""
    squared_error: float
    """Sum of squared distances of true positives, Å²."""

    @property
    def precision(self) -> float:
        return self.true_positives / max(1, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        return self.true_positives / max(1, self.true_positives + self.missed)

    @property
    def f1(self) -> float:
        return 2 * self.true_positives / max(1, 2 * self.true_positives + self.false_positives + self.missed)

    @property
    def centring_rms(self) -> float:
        """Å."""
        return math.sqrt(self.squared_error / max(1, self.true_positives))

    def __add__(self, other: "PickScore") -> "PickScore":
        return PickScore(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.missed + other.missed,
            self.duplicates + other.duplicates,
            self.obscured + other.obscured,
            self.squared_error + other.squared_error,
        )


NO_PICKS = PickScore(0, 0, 0, 0, 0, 0.0)


def score_picks(
    truth: MovieTruth,
    picks_px: Array,
    diameter: float,
    *,
    binning: float = 1.0,
    edge: float | None = None,
    radius: float = 0.35,
) -> PickScore:
    """Match picks with particles one to one, so that as many as possible match and their distances are small.

    Broken particles, and all within `edge` of the border, count neither way. Denatured and foreign ones are no particles.

    Args:
        picks_px: (n, 2), (x, y) in pixels of the micrograph, 0-based.
        diameter: of the particle, Å.
        binning: micrograph pixels are so many movie pixels.
        edge: Å from the border; default half a diameter.
        radius: farthest match, in diameters.
    """
    picks = np.asarray(picks_px, dtype=np.float64).reshape(-1, 2) * binning
    particles, reach = truth.particles, radius * diameter / truth.pixel_size
    margin = (diameter / 2 if edge is None else edge) / truth.pixel_size
    positive: NDArray[np.bool_] = np.isin(particles.kind, ("good",)) & particles.inside(truth.shape, margin)
    neutral = ~positive & np.isin(particles.kind, ("good", "broken"))
    points = particles.points_px
    pick_index, true_index, distance = match_points(picks, points[positive | neutral], reach)
    is_positive = np.asarray(positive[positive | neutral], dtype=np.bool_)
    unmatched = np.setdiff1d(np.arange(len(picks)), pick_index)
    unmatched = unmatched[_away_from_border(picks[unmatched], truth.shape, margin)]
    hits = np.asarray(is_positive[true_index], dtype=np.int64)
    wanted = points[positive]
    nearest = np.full(len(unmatched), np.inf)
    if len(wanted) and len(unmatched):
        nearest = np.asarray(cKDTree(wanted).query(picks[unmatched])[0])
    return PickScore(
        int(hits.sum()),
        len(unmatched),
        int(positive.sum() - hits.sum()),
        int((nearest < reach).sum()),
        int(truth.surroundings.obscured(picks[unmatched]).sum()),
        float((hits * distance**2).sum() * truth.pixel_size**2),
    )


def match_points(found: Array, true: Array, reach: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Pair points (n, 2) with points (m, 2) within `reach`: indices of both and distances; most pairs, then nearest."""
    nothing = np.zeros(0, dtype=np.int64)
    if not len(found) or not len(true):
        return nothing, nothing, np.zeros(0)
    distance = np.hypot(found[:, None, 0] - true[None, :, 0], found[:, None, 1] - true[None, :, 1])
    rows, columns = linear_sum_assignment(np.where(distance <= reach, distance, 1e6))
    kept = distance[rows, columns] <= reach
    return rows[kept].astype(np.int64), columns[kept].astype(np.int64), distance[rows, columns][kept]


def _away_from_border(points: Array, shape: tuple[int, int], margin: float) -> NDArray[np.bool_]:
    height, width = shape
    inside_x = (points[:, 0] >= margin) & (points[:, 0] <= width - 1 - margin)
    return np.asarray(inside_x & (points[:, 1] >= margin) & (points[:, 1] <= height - 1 - margin))


def read_points(path: Path | str) -> Array:
    """Coordinates (n, 2) of a picks STAR file, (x, y) in pixels of its micrograph.

    Raises:
        BadInput: no table with coordinates.
    """
    table = _table_with(path, "rlnCoordinateX")
    return np.stack([np.array(table[f"rlnCoordinate{axis}"], dtype=np.float64) for axis in "XY"], axis=1).reshape(-1, 2)


def read_particle_points(path: Path | str) -> Mapping[str, Array]:
    """True centres (n, 2) in micrograph pixels that a particles STAR file states, by micrograph name without suffix.

    The centre is trunc(coordinate) - origin / pixel size, as RELION extracts.

    Raises:
        BadInput: no table with particles.
    """
    table = _table_with(path, "rlnMicrographName")
    pixel_sizes = np.array(_pixel_sizes(path, table))
    centres = []
    for axis in "XY":
        whole = np.trunc(np.array(table[f"rlnCoordinate{axis}"], dtype=np.float64))
        origin = np.array(table.get(f"rlnOrigin{axis}Angst") or [0.0] * table.rows, dtype=np.float64)
        centres.append(whole - origin / pixel_sizes)
    names = np.array([PurePosixPath(str(name)).stem for name in table["rlnMicrographName"]])
    points = np.stack(centres, axis=1)
    return {str(name): points[names == name] for name in np.unique(names)}


def _pixel_sizes(path: Path | str, table: StarTable) -> list[float]:
    """Micrograph pixel size in Å of each row."""
    optics = read_star(path).get("optics")
    groups = [int(float(group)) for group in table.get("rlnOpticsGroup") or [1] * table.rows]
    if optics is None:
        return [1.0] * table.rows
    sizes = optics.get("rlnMicrographPixelSize") or optics.get("rlnMicrographOriginalPixelSize") or [1.0] * optics.rows
    numbers = [int(float(group)) for group in optics.get("rlnOpticsGroup") or range(1, optics.rows + 1)]
    known = dict(zip(numbers, (float(size) for size in sizes), strict=True))
    return [known[group] for group in groups]


def _table_with(path: Path | str, label: str) -> StarTable:
    for table in read_star(path).values():
        if label in table:
            return table
    raise BadInput(f"{path}: no column _{label}")
