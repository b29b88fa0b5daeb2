"""How good a 2D classification is, against the truth of a simulated stack.

A class is taken to show its main protein, the one most of its wanted particles are of. Views, rotations and shifts are judged
among those. A class has its own angle and centre, which nobody can know: both are taken out before errors are counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.io.star import read_star
from magellon.simulation.particle_truth import ParticleSetTruth
from magellon.simulation.projection import euler_matrices
from magellon.simulation.symmetry import symmetry_operators
from magellon.simulation.view_groups import find_mean_view, in_plane_angles, partition_views, view_angles
from magellon.units import Angstrom, Degree

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ClassAssignment:
    """What a classification says of each image (n,)."""

    klass: NDArray[np.int64]
    """Any number; below 0: in no class."""
    psi: Array
    """`rlnAnglePsi`."""
    origin: Array
    """(n, 2): `rlnOriginX/YAngst`."""
    kept: NDArray[np.bool_]
    """Not set aside as junk."""


@dataclass(frozen=True)
class ClassScores:
    """Medians are over wanted particles of their class's main protein, whether the class is kept or not."""

    classes_used: int
    """Classes with at least a quarter of an equal share of the images."""
    purity: float
    """Fraction of the kept images that are wanted particles of their class's main protein."""
    protein_purity: float
    """The same among wanted particles only: how little proteins are mixed."""
    protein_index: float
    """Adjusted Rand index of the classes' main proteins against the true ones, over wanted particles."""
    spread: Degree
    """Median angle between a particle's view and the mean view of its class."""
    psi_error: Degree
    """Median error of the rotation in the plane."""
    shift_error: Angstrom
    """Median error of the centre."""
    good_kept: float
    """Fraction of the wanted particles."""
    junk_removed: float
    """Fraction of the junk."""


def read_assignment(path: Path | str, count: int | None = None) -> ClassAssignment:
    """Classes and poses of a STAR file of particles, RELION's or ours; `rlnClassNumber` 0 is no class.

    Ours tell junk by `magellonJunkProbability`; of others, everything counts as kept.
    """
    table = read_star(path)["particles"]
    klass = np.array(table.ints("rlnClassNumber")) - 1
    origin = np.array([table.floats("rlnOriginXAngst"), table.floats("rlnOriginYAngst")]).T
    junk = np.array(table.floats("magellonJunkProbability", 0.0))
    if count is not None and len(klass) != count:
        raise ValueError(f"{path}: {len(klass)} particles, not {count}")
    return ClassAssignment(klass, np.array(table.floats("rlnAnglePsi")), origin, (junk < 0.5) & (klass >= 0))


def score_classes(found: ClassAssignment, truth: ParticleSetTruth, symmetries: Sequence[str]) -> ClassScores:
    """Compare; `symmetries` are those of the proteins, in the order of their numbers."""
    classed = found.klass >= 0
    main = find_main_proteins(found, truth)
    fits = truth.good & classed & (truth.protein == main)
    errors = [
        _measure_class(np.flatnonzero(fits & (found.klass == number)), found, truth, symmetries)
        for number in np.unique(found.klass[fits])
    ]
    spread, psi, shift = np.concatenate(errors).T if errors else np.full((3, 1), np.nan)
    counts = np.unique(found.klass[classed], return_counts=True)[1]
    good, junk, kept = truth.good & classed, ~truth.good, found.kept & classed
    return ClassScores(
        int((counts >= counts.mean() / 4).sum()) if len(counts) else 0,
        _fraction(fits, kept),
        _fraction(fits, good),
        adjusted_rand_index(main[good], truth.protein[good]),
        float(np.median(spread)),
        float(np.median(psi)),
        float(np.median(shift)),
        _fraction(kept, truth.good),
        1 - _fraction(kept, junk),
    )


def find_main_proteins(found: ClassAssignment, truth: ParticleSetTruth) -> NDArray[np.int64]:
    """(n,) the protein that most wanted particles of each image's class are of; -1 without any."""
    main = np.full(len(truth), -1)
    for number in np.unique(found.klass[found.klass >= 0]):
        inside = found.klass == number
        members = truth.protein[inside & truth.good]
        if len(members):
            main[inside] = np.bincount(members).argmax()
    return main


def shuffle_classes(found: ClassAssignment, seed: int = 0) -> ClassAssignment:
    """Classes of the same sizes whose members are drawn by lot: what no classification would score."""
    return replace(found, klass=np.random.default_rng(seed).permutation(found.klass))


def ideal_classes(truth: ParticleSetTruth, classes: int, symmetries: Sequence[str], seed: int = 0) -> ClassAssignment:
    """The wanted particles by protein and by view, with true poses: what a perfect classification would score.

    Another seed draws other borders between views.
    """
    good = truth.good
    present, counts = np.unique(truth.protein[good], return_counts=True)
    shares = np.maximum(1, np.round(counts / counts.sum() * classes)).astype(int)
    klass = np.full(len(truth), -1)
    first = 0
    for protein, share in zip(present, shares, strict=True):
        members = np.flatnonzero(good & (truth.protein == protein))
        views = euler_matrices(truth.rot[members], truth.tilt[members], truth.psi[members])[:, 2]
        klass[members] = first + partition_views(views, int(share), symmetry_operators(symmetries[protein]), seed)
        first += int(share)
    return ClassAssignment(klass, truth.psi, truth.origin, klass >= 0)


def adjusted_rand_index(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    """Agreement of two partitions of the same items (Hubert & Arabie 1985): 1 for equal ones, 0 for chance."""
    if len(first) < 2:
        return float("nan")
    rows, columns = (np.unique(labels, return_inverse=True)[1] for labels in (first, second))
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(table, (rows, columns), 1)
    together, in_first, in_second = (_pairs(counts) for counts in (table, table.sum(axis=1), table.sum(axis=0)))
    chance = in_first * in_second / _pairs(np.array([len(first)]))
    most = (in_first + in_second) / 2
    return float((together - chance) / (most - chance)) if most > chance else 1.0


def _pairs(counts: NDArray[np.floating]) -> float:
    return float((counts * (counts - 1) / 2).sum())


def _fraction(values: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    return float(values[among].mean()) if among.any() else float("nan")


def _measure_class(
    members: NDArray[np.int64], found: ClassAssignment, truth: ParticleSetTruth, symmetries: Sequence[str]
) -> Array:
    """(m, 3): distance from the mean view, error of the rotation (degrees) and of the centre (Å) of each."""
    operators = symmetry_operators(symmetries[truth.protein[members[0]]])
    rotations = euler_matrices(truth.rot[members], truth.tilt[members], truth.psi[members])
    mean = find_mean_view(rotations[:, 2], operators)
    spread = view_angles(rotations[:, 2], mean[None], operators)[:, 0]
    turns = found.psi[members, None] - in_plane_angles(rotations, mean, operators)
    return np.stack([spread, _psi_errors(turns), _shift_errors(members, found, truth)], axis=1)


def _psi_errors(turns: Array) -> Array:
    """Degrees (n,) from the angle most agree on; `turns` (n, copies) with NaN where a copy does not count."""

    def distances(offset: Array) -> Array:
        """(n, offsets)"""
        apart = np.abs((turns[:, :, None] - offset + 180) % 360 - 180)
        return np.asarray(np.nanmin(apart, axis=1))

    coarse = np.arange(0.0, 360.0, 3.0)
    best = coarse[np.minimum(distances(coarse), 40).mean(axis=0).argmin()]
    fine = best + np.arange(-3.0, 3.1, 0.5)
    return distances(fine[[np.minimum(distances(fine), 40).mean(axis=0).argmin()]])[:, 0]


def _shift_errors(members: NDArray[np.int64], found: ClassAssignment, truth: ParticleSetTruth) -> Array:
    """Å (m,): where the true centre lies in the frame of the class average, less the median."""
    apart = found.origin[members] - truth.origin[members]
    psi = np.radians(found.psi[members])
    x = apart[:, 0] * np.cos(psi) - apart[:, 1] * np.sin(psi)
    y = apart[:, 0] * np.sin(psi) + apart[:, 1] * np.cos(psi)
    return np.asarray(np.hypot(x - np.median(x), y - np.median(y)))
