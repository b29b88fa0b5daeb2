"""Nothing is found where nothing is: the classifier on simulated stacks with truth."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from magellon.backends.can_classifier.backend import CanClassifier
from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.contracts import ClassificationInput, ClassificationItem, ClassificationOutput, Context, Particles
from magellon.io.star import read_star
from magellon.simulation.particle_sets import ParticleSet, pick_from_noise, simulate_particles
from magellon.simulation.particle_truth import ParticleSetSpec

pytestmark = pytest.mark.slow
CLEAN = ParticleSetSpec(count=500, proteins=("barrel", "asymmetric"), junk=0.0, snr=0.15)


def classify(made: ParticleSet, folder: Path, classes: int, seed: int = 1, rounds: int = 15) -> ClassificationOutput:
    folder.mkdir(parents=True)
    particles = Particles(star=made.star, stack=made.stack, count=len(made.truth), box=64, pixel_size=4.0)
    given = ClassificationInput(items=(ClassificationItem(particles=particles),))
    params = CanClassifierParams(classes=classes, diameter=200.0, rounds=rounds)
    return CanClassifier().run(given, params, Context(workdir=folder, seed=seed))


def test_pure_noise_gives_only_junk_and_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = replace(CLEAN, junk=1.0, junk_kinds={"empty": 1.0}, neighbours=0.0)
    output = classify(simulate_particles(tmp_path / "in", spec), tmp_path / "out", 6)
    assert output.kept == 0
    assert set(read_star(output.classes.table)["model_classes"].ints("rlnSelected")) == {0}
    assert [each.levelname for each in caplog.records if "no particle is kept" in each.message] == ["WARNING"]


def test_noise_picked_with_a_template_gives_only_junk(tmp_path: Path) -> None:
    """Einstein from noise: the averages look like the template, and are refused all the same."""
    made = pick_from_noise(tmp_path / "in", CLEAN)
    for classes in (6, 12):
        output = classify(made, tmp_path / f"out{classes}", classes)
        assert output.kept <= 0.02 * output.count


def test_nothing_is_claimed_beyond_where_phases_are_random(tmp_path: Path) -> None:
    spec = replace(CLEAN, proteins=("barrel",), randomised_beyond=30.0, snr=0.3)
    output = classify(simulate_particles(tmp_path / "in", spec), tmp_path / "out", 4)
    resolutions = read_star(output.classes.table)["model_classes"].floats("rlnEstimatedResolution")
    assert min(resolutions) > 27  # One shell of 256 Å beyond 30 Å is 26.9 Å.
    plain = classify(simulate_particles(tmp_path / "plain", replace(spec, randomised_beyond=None)), tmp_path / "out2", 4)
    assert min(read_star(plain.classes.table)["model_classes"].floats("rlnEstimatedResolution")) < 25


def test_many_classes_of_few_particles_stay_apart(tmp_path: Path) -> None:
    """Tempered, one class once swallowed nearly all of such a stack."""
    spec = ParticleSetSpec(count=932, proteins=("invented:9:170",), junk=0.1, snr=0.12, seed=23)
    output = classify(simulate_particles(tmp_path / "in", spec), tmp_path / "out", 50, rounds=25)
    klass = np.array(read_star(output.all_particles)["particles"].ints("rlnClassNumber"))
    counts = np.bincount(klass)[1:]
    assert counts.max() < 0.12 * len(klass)
    assert (counts >= 5).sum() >= 25
