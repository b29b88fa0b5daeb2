"""What a 2D classification must not do, each as a row: detail from noise, other classes from each seed, a rare protein lost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.class_agreement import compare_runs
from benchmarks.class_runs import DIAMETER, STEP, Run, classify_from, classify_stack
from benchmarks.table import Row
from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.io.star import read_star
from magellon.simulation.class_scores import find_main_proteins
from magellon.simulation.invented import find_protein
from magellon.simulation.particle_sets import ParticleSet, pick_from_noise, simulate_particles
from magellon.simulation.particle_truth import ParticleSetSpec, ParticleSetTruth

CLEAN = ParticleSetSpec(count=600, proteins=("barrel", "asymmetric"), junk=0.0, snr=0.15, seed=6)
CLASSES = 10
_BEYOND = 30.0
"""Å; phases of finer details are random."""


def check(work: Path, count: int = CLEAN.count) -> list[Row]:
    """Noise, noise picked with a template, random phases, two seeds, and a rare protein."""
    clean = replace(CLEAN, count=count)
    noise = replace(clean, junk=1.0, junk_kinds={"empty": 1.0}, neighbours=0.0)
    rows = [
        _row("noise", count, _kept(classify_stack(simulate_particles(work / "noise", noise).star.parent, CLASSES))),
        _row("noise picked with a template", count, _kept(classify_stack(_pick(work / "picked", clean), CLASSES))),
    ]
    random = replace(clean, proteins=("barrel",), randomised_beyond=_BEYOND, snr=0.3)
    for name, spec in ((f"random phases beyond {_BEYOND:g} Å", random), ("the same with its phases", plain_phases(random))):
        done = classify_stack(simulate_particles(work / name.replace(" ", "-"), spec).star.parent, CLASSES)
        rows.append(_row(name, count, (done, {"finest claimed (Å)": finest_claim(done.table)})))
    return [*rows, _compare_seeds(work / "seeds", clean), _look_for_rare(work / "rare", count)]


def plain_phases(spec: ParticleSetSpec) -> ParticleSetSpec:
    return replace(spec, randomised_beyond=None)


def _pick(folder: Path, spec: ParticleSetSpec) -> Path:
    made: ParticleSet = pick_from_noise(folder, spec)
    return made.star.parent


def _kept(done: Run) -> tuple[Run, dict[str, float]]:
    return done, {"noise kept": float(done.found.kept.mean())}


def finest_claim(table: Path) -> float:
    return min(read_star(table)["model_classes"].floats("rlnEstimatedResolution"))


def _compare_seeds(folder: Path, spec: ParticleSetSpec) -> Row:
    """Two runs; classes of one protein have soft borders between views, proteins have not."""
    made = simulate_particles(folder, spec)
    params = CanClassifierParams(classes=CLASSES, diameter=DIAMETER)
    first, second = (classify_from(folder / f"seed{seed}", made, spec, params, seed) for seed in (1, 2))
    symmetries = [find_protein(protein).symmetry for protein in spec.proteins]
    figures = compare_runs((first, second), made.truth, symmetries, CLASSES, spec.pixel_size)
    return _row("two seeds", spec.count, (second, figures))


def _look_for_rare(folder: Path, count: int) -> Row:
    spec = ParticleSetSpec(count=count, proteins=("barrel", "asymmetric"), abundances=(10.0, 1.0), junk=0.0, snr=0.15, seed=7)
    made = simulate_particles(folder, spec)
    done = classify_stack(folder, CLASSES)
    return _row(
        "one protein in ten of another", count, (done, {"rare in classes of their own": in_own_classes(done, made.truth)})
    )


def in_own_classes(done: Run, truth: ParticleSetTruth) -> float:
    """Fraction of the particles of the second protein that are in classes it makes the most of."""
    rare: NDArray[np.bool_] = truth.good & (truth.protein == 1)
    return float((find_main_proteins(done.found, truth) == 1)[rare].mean())


def _row(name: str, count: int, made: tuple[Run, dict[str, float]]) -> Row:
    done, figures = made
    data = f"{name}, {count} particles, K={CLASSES}, diameter {DIAMETER:g} Å"
    cost = done.cost
    return Row(STEP, "magellon can-classifier", data, 1, cost.seconds, cost.cpu_seconds, cost.peak_megabytes, figures)
