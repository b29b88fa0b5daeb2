"""What classes begin from, at equal time: pairs, the autoencoder, and random seeds, after few rounds and after many.

One stack, several seeds of the classifier each, within this process: the row holds the means, of the processor time as well.
With few rounds it shows what a beginning is worth, with many what is left of it.
"""

from pathlib import Path

import numpy as np

from benchmarks.class_runs import DIAMETER, STEP, classify_from
from benchmarks.table import Row
from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.simulation.class_scores import score_classes
from magellon.simulation.invented import find_protein
from magellon.simulation.particle_sets import ParticleSet, simulate_particles
from magellon.simulation.particle_truth import ParticleSetSpec

ROUNDS = (6, 12, 25)
KINDS = ("neighbours", "can", "random")
SEEDS = (1, 2, 3)


def compare_seeds(work: Path, spec: ParticleSetSpec, classes: int) -> list[Row]:
    """A row for each number of rounds and each way to begin."""
    made = simulate_particles(work, spec)
    return [_measure(work, made, spec, CanClassifierParams(classes=classes, diameter=DIAMETER, rounds=rounds, seeds=kind))
            for rounds in ROUNDS for kind in KINDS]  # fmt: skip


def _measure(work: Path, made: ParticleSet, spec: ParticleSetSpec, params: CanClassifierParams) -> Row:
    symmetries = [find_protein(protein).symmetry for protein in spec.proteins]
    figures, costs = [], []
    for seed in SEEDS:
        done = classify_from(work / f"{params.seeds}{params.rounds}-{seed}", made, spec, params, seed)
        scores = score_classes(done.found, made.truth, symmetries)
        costs.append(done.cost)
        figures.append(
            {
                "proteins unmixed": scores.protein_purity,
                "ARI of proteins": scores.protein_index,
                "spread of views (°)": scores.spread,
                "wanted kept": scores.good_kept,
                "junk removed": scores.junk_removed,
                "classes used": float(scores.classes_used),
            }
        )
    means = {name: float(np.mean([each[name] for each in figures])) for name in figures[0]}
    seconds, cpu = (float(np.mean(each)) for each in zip(*((cost.seconds, cost.cpu_seconds) for cost in costs), strict=True))
    program = f"magellon can-classifier, seeds {params.seeds}, {params.rounds} rounds"
    data = f"equal time: {spec.count} particles, K={params.classes}, seed {spec.seed}, mean of {len(SEEDS)} seeds"
    return Row(STEP, program, data, 1, seconds, cpu, None, means)
