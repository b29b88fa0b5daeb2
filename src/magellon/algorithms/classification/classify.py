"""Multi-reference alignment from beginning to end.

Classes begin from groups of particles that look alike (`seeding`) or grow out of one by splitting. References start blurred and
gain shells as their halves agree in them (`limits`), early rounds look at a random part of the particles, and classes that lose
their particles are replaced by halves of the largest.
No class has a prior because it is large; while classes form, those that take far more than an equal share have one against
them (`balance`).
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from magellon.algorithms.classification.balance import balance_classes
from magellon.algorithms.classification.emptiness import find_empty
from magellon.algorithms.classification.limits import (
    advance_limit,
    first_shells,
    measure_proof,
    ring_correlations,
    shown_limits,
)
from magellon.algorithms.classification.particles import ParticleData, Poses
from magellon.algorithms.classification.records import Classification, Settings, Start, Voice
from magellon.algorithms.classification.rounds import Geometry, Model, RoundResult, run_round, update_references
from magellon.algorithms.classification.schedule import Schedule
from magellon.algorithms.classification.seeding import choose_seeding, seed_classes
from magellon.algorithms.classification.splitting import fill_classes

_SMALL = 0.2
"""Classes with less than this part of an equal share are given up."""
_BLURRED = 2000


def classify(
    data: ParticleData, geometry: Geometry, settings: Settings, start: Start | None = None, voice: Voice | None = None
) -> Classification:
    """Sort particles into classes and align them within.

    Args:
        data: at least one particle.
        start: classes to begin with; left out, they are grown from the particles.
    """
    first = first_shells(geometry.extent, geometry.disc.radius)
    classes = max(1, min(settings.classes, len(data)))
    rounds = settings.rounds if start is None else max(4, settings.rounds // 3)
    schedule = Schedule(
        len(data),
        classes,
        rounds,
        first,
        geometry.disc.radius,
        growing=start is None,
        seeding=choose_seeding(settings.seeds, rounds) if start is None and classes > 1 else None,
    )
    generator = torch.Generator().manual_seed(settings.seed)
    model = _begin(data, geometry, classes, first, generator) if start is None else _begin_from(start, classes, data)
    return _Run(data, geometry, schedule, model, settings, generator, voice or Voice()).go()


@dataclass
class _Run:
    """The state of a classification between rounds."""

    data: ParticleData
    geometry: Geometry
    schedule: Schedule
    model: Model
    settings: Settings
    generator: torch.Generator
    voice: Voice

    def go(self) -> Classification:
        poses = Poses.unknown(len(self.data))
        for number in range(self.schedule.rounds):
            index = self.schedule.draw(number, self.generator)
            temperature = self.schedule.temperature(number, poses)
            result = run_round(self.data, poses, index, self.model, self.geometry, temperature, partial(self._tick, number))
            self.voice.log(_describe(number, result, self.model, len(index)))
            balance_classes(self.model, result.averages.occupancy, temperature, self.schedule.most_shares(number))
            if number + 1 < self.schedule.rounds:
                self._prepare_next(number, poses, result)
                if number + 1 >= self.schedule.settled:
                    # Averaged with them, a weak view is drawn as much by empty boxes as by its particles.
                    poses.empty = _find_empty(poses, self.schedule.classes)
        return _finish(poses, self.model, result, self.geometry, self.schedule.first)

    def _tick(self, number: int, fraction: float) -> None:
        rounds = self.schedule.rounds
        self.voice.progress((number + fraction) / rounds, f"round {number + 1} of {rounds}")

    def _prepare_next(self, number: int, poses: Poses, result: RoundResult) -> None:
        """Make the references of the next round."""
        model = self.model
        bounds = self.schedule.first, self.schedule.cap(number)
        model.limit = advance_limit(model.limit, result.averages, self.geometry.area, bounds)
        update_references(model, result, self.geometry)
        if number == self.schedule.seeding:
            seed_classes(self.data, poses, model, self.geometry, self.settings.seeds, self.generator)
            return
        alive = torch.isfinite(model.log_prior)
        missing = self.schedule.active(number) - int(alive.sum())
        empty = (~alive).nonzero()[:, 0].tolist()[: max(0, missing)]
        if not empty and number < self.schedule.settled:
            occupancy = result.averages.occupancy
            share = float(occupancy.sum()) / max(int(alive.sum()), 1)
            empty = (alive & (occupancy < _SMALL * share)).nonzero()[:, 0].tolist()
        fill_classes(self.data, poses, model, self.geometry, empty, self.generator)


def _find_empty(poses: Poses, classes: int) -> Tensor:
    """(n,) how likely each box is to hold nothing; 0 for those not looked at yet."""
    found = (poses.klass >= 0).nonzero()[:, 0]
    chance = torch.zeros(len(poses.klass))
    chance[found] = find_empty(poses.gain[found], poses.klass[found], classes).chance
    return chance


def _begin(data: ParticleData, geometry: Geometry, classes: int, first: int, generator: torch.Generator) -> Model:
    """One class, round: the radial mean of the particles as they lie."""
    low = geometry.disc.inner(first)
    sample = torch.randperm(len(data), generator=generator)[:_BLURRED].sort().values
    batch = data.take(sample, low)
    mean = batch.values.sum(0) / (batch.transfer.sum(0)[low.shells] + 1)
    round_one = (low.shell_sums(mean.real) / low.counts.clamp(min=1))[low.shells]
    whole = torch.zeros(classes, len(geometry.disc.rows), dtype=torch.complex64, device=low.rows.device)
    whole[0, : len(low.rows)] = round_one.to(torch.complex64)
    prior = torch.full((classes,), -torch.inf, device=low.rows.device)
    prior[0] = 0
    return _make_model(whole, first, prior, data.folds)


def _begin_from(start: Start, classes: int, data: ParticleData) -> Model:
    """The classes given, and room for more, which come by splitting."""
    given = len(start.references)
    room = max(classes - given, 0)
    whole = torch.nn.functional.pad(start.references, (0, 0, 0, room))
    prior = torch.full((given + room,), -torch.inf, device=whole.device)
    prior[:given] = 0
    return _make_model(whole.clone(), int(start.limits.max()), prior, data.folds)


def _make_model(whole: Tensor, limit: int, prior: Tensor, folds: int) -> Model:
    return Model(whole, whole.expand(folds, *whole.shape).clone(), limit, prior)


def _describe(number: int, result: RoundResult, model: Model, count: int) -> str:
    occupancy = result.averages.occupancy
    alive = int(torch.isfinite(model.log_prior).sum())
    largest = float(occupancy.max() / occupancy.sum().clamp(min=1e-9))
    return (
        f"round {number + 1}: {count} particles in {alive} classes, the largest with {100 * largest:.1f} %, "
        f"aligned with up to {model.limit} shells"
    )


def _finish(poses: Poses, model: Model, result: RoundResult, geometry: Geometry, first: int) -> Classification:
    """The last averages, moved to the middle together with the particles they are made of."""
    aligned = model.limit
    last = advance_limit(aligned, result.averages, geometry.area, (first, geometry.disc.radius))
    shown = shown_limits(result.averages, (first, last))
    disc = result.averages.disc
    centres = update_references(model, result, geometry, shown)
    radians = torch.deg2rad(poses.psi)
    y, x = centres[poses.klass].unbind(1)
    turned = torch.stack([-torch.sin(radians) * x + torch.cos(radians) * y, torch.cos(radians) * x + torch.sin(radians) * y], 1)
    poses.shift = poses.shift - turned
    return Classification(
        poses,
        model.whole[:, : len(disc.rows)],
        result.averages.halves(),
        result.averages.occupancy,
        shown,
        aligned,
        first,
        ring_correlations(result.averages),
        disc,
        math.inf if aligned > first else measure_proof(result.averages, aligned, geometry.area),
    )
