"""RELION, given our classes and poses, brings the particles of a class on top of each other and on our average."""

from pathlib import Path

import numpy as np

from magellon.backends.can_classifier.backend import CanClassifier
from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.contracts import ClassificationInput, ClassificationItem, Context
from magellon.io.mrc import read_mrc
from magellon.io.star import read_star, write_star
from magellon.testing.examples import make_shape_particles


def test_relion_turns_and_moves_particles_onto_our_averages(tmp_path: Path, relion) -> None:
    particles = make_shape_particles(tmp_path, noise=0.5)
    (tmp_path / "out").mkdir()
    output = CanClassifier().run(
        ClassificationInput(items=(ClassificationItem(particles=particles),)),
        CanClassifierParams(classes=3, diameter=44.0, rounds=6, seeds="splitting"),
        Context(workdir=tmp_path / "out", seed=3),
    )
    tables = read_star(output.all_particles)
    members = [row for row, k in enumerate(tables["particles"].ints("rlnClassNumber")) if k == 1]
    chosen = {label: [values[row] for row in members] for label, values in tables["particles"].items()}
    write_star(tmp_path / "chosen.star", {"optics": tables["optics"], "particles": chosen})
    relion("stack_create", i="chosen.star", o="upright", apply_transformation=True)
    mean = read_mrc(tmp_path / "upright.mrcs").mean(axis=0)
    average = read_mrc(output.classes.averages)[0]
    inside = np.hypot(*(np.indices(mean.shape) - 16)) < 11
    assert np.corrcoef(mean[inside], average[inside])[0, 1] > 0.95
