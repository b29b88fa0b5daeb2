"""`two_d_classification/can-classifier`: particles to class averages, STAR files and a gallery."""

from magellon.algorithms.classification.classify import classify
from magellon.algorithms.classification.records import Settings, Voice
from magellon.algorithms.parallel import single_threaded_kernels
from magellon.backends.can_classifier.loading import load_particles
from magellon.backends.can_classifier.output import Finding, write_output
from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.backends.can_classifier.plan import make_plan
from magellon.backends.can_classifier.source import StackFinder, check_boxes
from magellon.backends.can_classifier.start import read_start
from magellon.backends.can_classifier.tables import read_particle_tables
from magellon.backends.can_classifier.verdict import judge_classes
from magellon.contracts import (
    TWO_D_CLASSIFICATION,
    Backend,
    BadInput,
    ClassificationInput,
    ClassificationOutput,
    Context,
)

_READING = 0.15
"""Part of the progress bar."""
_FEW = 10
"""Fewer particles for each class than that are worth a warning."""


class CanClassifier(Backend[ClassificationInput, CanClassifierParams, ClassificationOutput]):
    """Seeds from pairs of particles that look alike, or from an autoencoder (CAN); multi-reference alignment (MRA); and a
    selection of the good classes."""

    contract = TWO_D_CLASSIFICATION
    name = "can-classifier"
    version = 11
    Params = CanClassifierParams

    def run(self, input: ClassificationInput, params: CanClassifierParams, context: Context) -> ClassificationOutput:
        stars = [item.particles.star for item in input.items if item.particles.count]
        if not stars:
            raise BadInput(f"{input.items[0].particles.star}: no particles, nor in the other {len(input.items) - 1} files")
        table = read_particle_tables(stars, StackFinder.of_input(input))
        context.progress(0.01, f"{len(table)} particles")
        plan = make_plan(table, check_boxes(table), params, input.diameter, context)
        start = read_start(input.start, plan)
        params.check_choice(len(table), 0 if start is None else len(start.references))
        with single_threaded_kernels():
            loaded = load_particles(
                table,
                plan.box,
                plan.disc,
                params.ignore_ctf_first_peak,
                context,
                lambda part, message: context.progress(0.01 + (_READING - 0.01) * part, message),
            )
            _warn_of_few(params.classes, len(loaded.data), context)
            settings = Settings(params.count_classes(len(loaded.data)), params.rounds, context.seed, params.seeds)
            voice = Voice(
                lambda part, message: context.progress(_READING + (0.97 - _READING) * part, message),
                lambda message: context.log.info("%s", message),
            )
            found = classify(loaded.data, plan.geometry, settings, start, voice)
            verdict = judge_classes(found, loaded.data, plan, params)
        finding = Finding(table, tuple(stars), plan, loaded.rows, found.poses, verdict)
        return write_output(finding, input.folders, params, context)


def _warn_of_few(classes: int | None, particles: int, context: Context) -> None:
    if classes is not None and particles < classes * _FEW:
        said = "%d classes of %d particles are too many: 50 to 100 particles in each tell views from noise, few are junk to it"
        context.log.warning(said, classes, particles)
