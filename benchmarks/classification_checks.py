"""What a 2D classification must not do, each as a row: detail from noise, other classes from each seed, a rare protein lost."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.class_runs import DIAMETER, STEP, Run, classify_stack, read_ours
from benchmarks.cost import measure_call
from benchmarks.table import Row
from magellon.backends.can_classifier.backend import CanClassifier
from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.contracts import ClassificationInput, ClassificationItem, Context, Particles
from magellon.io.star import read_star
from magellon.simulation.class_scores import adjusted_rand_index, find_main_proteins
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
    """Proteins and classes of two runs; classes of one protein have soft borders between views, proteins have not."""
    made = simulate_particles(folder, spec)
    first, second = (_classify_from(folder, made, seed) for seed in (1, 2))
    mains = [find_main_proteins(done.found, made.truth) for done in (first, second)]
    figures = {
        "ARI of classes, two seeds": adjusted_rand_index(first.found.klass, second.found.klass),
        "same protein, two seeds": float((mains[0] == mains[1]).mean()),
    }
    return _row("two seeds", spec.count, (second, figures))


def _classify_from(folder: Path, made: ParticleSet, seed: int) -> Run:
    """Within this process, as the command chooses its seed itself."""
    out = folder / f"seed{seed}"
    out.mkdir()
    count, spec = len(made.truth), CLEAN
    particles = Particles(star=made.star, stack=made.stack, count=count, box=spec.box, pixel_size=spec.pixel_size)
    given = ClassificationInput(items=(ClassificationItem(particles=particles),))
    params = CanClassifierParams(classes=CLASSES, diameter=DIAMETER)
    cost = measure_call(lambda: CanClassifier().run(given, params, Context(workdir=out, seed=seed)))[1]
    return read_ours(out, cost)


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
