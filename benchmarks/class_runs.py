"""Programs that classify a stack in 2D, run as a person would run them."""

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cost import Cost, measure_call, measure_command
from magellon.backends.can_classifier.backend import CanClassifier
from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.contracts import ClassificationInput, ClassificationItem, Context, Particles
from magellon.io.mrc import read_mrc
from magellon.io.star import StarTable, read_star, write_star
from magellon.simulation.class_scores import ClassAssignment, read_assignment
from magellon.simulation.particle_sets import ParticleSet
from magellon.simulation.particle_truth import ParticleSetSpec

STEP = "two_d_classification"
DIAMETER = 200.0


@dataclass(frozen=True)
class Run:
    """What one program made of a stack."""

    found: ClassAssignment
    averages: NDArray[np.float32]
    cost: Cost
    table: Path
    """`class_averages.star`, or the particles of RELION."""


def classify_stack(folder: Path, classes: int, seeds: str | None = None) -> Run:
    """The command a person would type, with the start of Python and of torch."""
    out = folder / f"k{classes}-{seeds}"
    shutil.rmtree(out, ignore_errors=True)
    argv = [sys.executable, "-m", "magellon", "run", f"{STEP}/can-classifier", "particles.star"]
    argv += ["--classes", str(classes), "--diameter", str(DIAMETER), "--out", str(out)]
    if seeds is not None:
        argv += ["--seeds", seeds]
    return read_ours(out, measure_command(argv, folder, folder / f"{out.name}.log"))


def classify_from(folder: Path, made: ParticleSet, spec: ParticleSetSpec, params: CanClassifierParams, seed: int) -> Run:
    """Within this process and with a given seed, as the command chooses its seed itself."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    particles = Particles(star=made.star, stack=made.stack, count=len(made.truth), box=spec.box, pixel_size=spec.pixel_size)
    given = ClassificationInput(items=(ClassificationItem(particles=particles),))
    cost = measure_call(lambda: CanClassifier().run(given, params, Context(workdir=folder, seed=seed)))[1]
    return read_ours(folder, cost)


def read_ours(out: Path, cost: Cost) -> Run:
    """What `can-classifier` left in a folder."""
    kept = set(read_star(_find(out, "particles.star"))["particles"].texts("rlnImageName"))
    table = _find(out, "all_particles.star")
    names = read_star(table)["particles"].texts("rlnImageName")
    found = replace(read_assignment(table), kept=np.array([name in kept for name in names]))
    return Run(found, read_mrc(_find(out, "class_averages.mrcs")), cost, _find(out, "class_averages.star"))


def _find(folder: Path, name: str) -> Path:
    return next(iter(sorted(folder.rglob(name))))


def run_relion(folder: Path, classes: int, iterations: int) -> Run:
    out = folder / "relion"
    out.mkdir(exist_ok=True)
    argv = [
        "relion_refine", "--i", "particles.star", "--o", "relion/run", "--K", str(classes), "--iter", str(iterations),
        "--particle_diameter", str(DIAMETER), "--ctf", "--tau2_fudge", "2", "--oversampling", "1", "--psi_step", "12",
        "--offset_range", "5", "--offset_step", "2", "--norm", "--scale", "--zero_mask", "--flatten_solvent", "--pad", "2",
        "--pool", "3", "--dont_combine_weights_via_disc", "--preread_images", "--j", "1", "--random_seed", "1",
    ]  # fmt: skip
    cost = measure_command(argv, folder, folder / "relion.log")
    return read_relion(out, iterations, cost)


def read_relion(out: Path, iteration: int, cost: Cost) -> Run:
    """The state after one iteration, its particles in the order of the stack."""
    stem = f"run_it{iteration:03d}"
    tables = read_star(out / f"{stem}_data.star")
    rows = tables["particles"]
    order = np.argsort([int(name.partition("@")[0]) for name in rows.texts("rlnImageName")], kind="stable").tolist()
    ordered = StarTable({label: [values[row] for row in order] for label, values in rows.items()})
    write_star(out / "ordered.star", {"optics": tables["optics"], "particles": ordered})
    return Run(read_assignment(out / "ordered.star"), read_mrc(out / f"{stem}_classes.mrcs"), cost, out / "ordered.star")
