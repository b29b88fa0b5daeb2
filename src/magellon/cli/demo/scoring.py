"""A processed session against its truth, as a table of figures with the tolerance of each."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from magellon.io.star import read_star
from magellon.simulation.score import (
    NO_PICKS,
    Array,
    MotionScore,
    PickScore,
    read_motion,
    read_particle_points,
    read_points,
    score_ctfs,
    score_motion,
    score_picks,
)
from magellon.simulation.truth import CtfTruth, MovieTruth, SessionTruth


@dataclass(frozen=True)
class Figure:
    """One measured number and what it must keep to."""

    quantity: str
    value: float
    unit: str
    limit: float
    at_least: bool = False
    """Whether the limit is the least allowed value rather than the largest."""

    @property
    def kept(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit


LIMITS: Mapping[str, float] = {
    "global motion": 0.48,
    "motion over the field": 0.59,
    "defocus": 68.0,
    "astigmatism": 212.0,
    "precision": 0.85,
    "recall": 0.85,
    "F1": 0.90,
    "centring": 0.05,
    "kept": 0.85,
    "kept of true": 0.75,
    "classes": 5,
}
"""Motion and CTF: what RELION 3.1 and CTFFIND 5 reach on such movies (Å, root mean square). Centring: in diameters.
Classification may lose a quarter of the true particles: a session this small has few of each view."""


def score_session(folder: Path, truth: SessionTruth) -> list[Figure]:
    """All figures of a session folder, computed from the files in it.

    Raises:
        BadInput: a file that is missing or damaged.
    """
    nothing = np.zeros((0, 2))
    particles = read_particle_points(folder / "particles.star")

    def find_picks(movie: MovieTruth) -> Array:
        path = folder / "particle_picking" / f"{movie.name}_autopick.star"
        return read_points(path) if path.exists() else nothing

    picks = _add_scores(truth, find_picks)
    extracted = _add_scores(truth, lambda movie: particles.get(movie.name, nothing))
    return [
        *_score_all_motion(folder, truth),
        *_score_all_ctfs(folder, truth),
        *_list_picks(picks, truth, extracted),
        *_score_classes(folder / "two_d_classification" / "particles.star", truth, extracted),
    ]


def _score_all_motion(folder: Path, truth: SessionTruth) -> list[Figure]:
    scores = [score_motion(movie, read_motion(folder / "motion_correction" / f"{movie.name}.star")) for movie in truth.movies]

    def rms(value: Callable[[MotionScore], float]) -> float:
        return math.sqrt(sum(value(score) ** 2 for score in scores) / len(scores))

    return [
        Figure("global motion, error", rms(lambda score: score.global_rms), "Å", LIMITS["global motion"]),
        Figure("motion over the field, error", rms(lambda score: score.field_rms), "Å", LIMITS["motion over the field"]),
    ]


def _score_all_ctfs(folder: Path, truth: SessionTruth) -> list[Figure]:
    fits = read_fits(folder / "micrographs_ctf.star")
    score = score_ctfs((movie, fits[movie.name]) for movie in truth.movies if movie.name in fits)
    return [
        Figure("micrographs with a CTF", score.micrographs, "", len(truth.movies), at_least=True),
        Figure("defocus, error", score.defocus_rms, "Å", LIMITS["defocus"]),
        Figure("astigmatism, error", score.astigmatism_rms, "Å", LIMITS["astigmatism"]),
    ]


def read_fits(path: Path) -> dict[str, CtfTruth]:
    """Micrograph name > its fitted CTF, from `micrographs_ctf.star`."""
    table = read_star(path)["micrographs"]
    names = [PurePosixPath(name).stem for name in table.texts("rlnMicrographName")]
    columns = [table.floats(f"rlnDefocus{which}") for which in ("U", "V", "Angle")] + [table.floats("rlnPhaseShift", 0.0)]
    return {name: CtfTruth(*values) for name, *values in zip(names, *columns, strict=True)}


def _add_scores(truth: SessionTruth, find_points: Callable[[MovieTruth], Array]) -> PickScore:
    """Over all micrographs; one without points (held back, or nothing picked) misses all its particles."""
    return sum((score_picks(movie, find_points(movie), truth.diameter) for movie in truth.movies), NO_PICKS)


def _list_picks(picks: PickScore, truth: SessionTruth, extracted: PickScore) -> Sequence[Figure]:
    wanted = extracted.true_positives + extracted.missed
    least = LIMITS["recall"] * wanted
    return [
        Figure("picks, precision", picks.precision, "", LIMITS["precision"], at_least=True),
        Figure("picks, recall", picks.recall, "", LIMITS["recall"], at_least=True),
        Figure("picks, F1", picks.f1, "", LIMITS["F1"], at_least=True),
        Figure("picks, distance to the particle", picks.centring_rms, "Å", LIMITS["centring"] * truth.diameter),
        Figure(f"true particles extracted, of {wanted}", extracted.true_positives, "", least, at_least=True),
    ]


def _score_classes(path: Path, truth: SessionTruth, extracted: PickScore) -> Sequence[Figure]:
    """What 2D classification kept; nothing where there were too few particles for it."""
    if not path.exists():
        return ()
    points = read_particle_points(path)
    kept = _add_scores(truth, lambda movie: points.get(movie.name, np.zeros((0, 2))))
    classes = len(set(read_star(path)["particles"].ints("rlnClassNumber")))
    least = LIMITS["kept of true"] * extracted.true_positives
    return [
        Figure("kept by classification, precision", kept.precision, "", LIMITS["kept"], at_least=True),
        Figure(f"true particles kept, of {extracted.true_positives}", kept.true_positives, "", least, at_least=True),
        Figure("classes with kept particles", classes, "", LIMITS["classes"], at_least=True),
    ]
