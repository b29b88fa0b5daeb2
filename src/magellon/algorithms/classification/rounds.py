"""One round of multi-reference alignment: fit the particles to the references, average them, and judge the averages."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from magellon.algorithms.classification.averages import (
    FoldAverages,
    Sums,
    average_folds,
    filter_averages,
    find_centres,
    mask_references,
)
from magellon.algorithms.classification.disc import Disc
from magellon.algorithms.classification.expectation import References, Search, fit_batch
from magellon.algorithms.classification.particles import ParticleData, Poses
from magellon.algorithms.classification.preparation import Box
from magellon.algorithms.classification.rotation import turn_references
from magellon.algorithms.classification.sampling import Sampling, make_sampling
from magellon.algorithms.parallel import map_in_order

BATCH = 128
_AHEAD = 6
"""Shells beyond the references that are averaged too, to see whether they may be taken next."""


@dataclass(frozen=True)
class Geometry:
    """What does not change during a run."""

    box: Box
    disc: Disc
    extent: float
    """Diameter of the particle as a fraction of the box."""
    reach: float
    """Largest shift that is looked for, fraction of the box."""
    shift_sigma: float
    threads: int = 1
    devices: tuple[str, ...] = ()
    """That share the particles of a round; none: all are where the disc is."""

    @property
    def area(self) -> float:
        """Fraction of the box inside the mask."""
        return min(1.0, 3.1416 / 4 * self.extent**2)


@dataclass(frozen=True)
class RoundResult:
    averages: FoldAverages
    """Of a few shells more than the references had."""
    sampling: Sampling


def run_round(
    data: ParticleData,
    poses: Poses,
    index: Tensor,
    model: "Model",
    geometry: Geometry,
    temperature: float = 1.0,
    tick: Callable[[float], None] = lambda fraction: None,
) -> RoundResult:
    """Fit the particles `index` to the model's references and add them up; their poses are written into `poses`."""
    radius = model.limit
    sampling = make_sampling(geometry.disc.inner(radius), geometry.extent, geometry.reach)
    wide = geometry.disc.inner(min(radius + _AHEAD, geometry.disc.radius))
    search = Search(sampling, geometry.shift_sigma, temperature)
    references = tuple(prepare_references(model, fold, sampling, wide) for fold in range(data.folds))
    first = _Place(wide, search, references)
    places = [first.to(device) for device in geometry.devices] or [first]
    chunks = _make_chunks(index, data)
    totals = [_no_sums(model, sampling, wide) for _ in range(data.folds)]

    def work(number: int) -> tuple[int, Tensor, Sums, tuple[Tensor, ...]]:
        fold, members = chunks[number]
        place = places[number % len(places)]
        sums = _no_sums(model, sampling, place.wide)
        found = []
        for part in torch.split(members, BATCH):
            batch = data.take(part, place.wide)
            fit = fit_batch(batch, place.references[fold], place.search)
            here = 1 - poses.empty[part].to(fit.weight)
            sums.add(batch, replace(fit, weight=fit.weight * here[fit.particle]))
            best = fit.best
            gain = fit.gain - place.references[fold].log_prior[fit.klass[best]]
            found.append((fit.klass[best], sampling.angles[fit.angle[best].cpu()], fit.shift[best], fit.weight[best], gain))
        return fold, members, sums, tuple(torch.cat(each) for each in zip(*found, strict=True))

    done = 0
    for fold, members, sums, found in map_in_order(work, range(len(chunks)), max(geometry.threads, len(places))):
        totals[fold].merge(sums)
        poses.put(members, found)
        data.forget()
        done += len(members)
        tick(done / len(index))
    return RoundResult(average_folds(totals, sampling.angles), sampling)


@dataclass(frozen=True)
class _Place:
    """What a device needs to fit particles."""

    wide: Disc
    search: Search
    references: tuple[References, ...]
    """Of each fold."""

    def to(self, device: str) -> "_Place":
        search = replace(self.search, sampling=self.search.sampling.to(device))
        return _Place(self.wide.to(device), search, tuple(each.to(device) for each in self.references))


def _no_sums(model: "Model", sampling: Sampling, disc: Disc) -> Sums:
    return Sums(model.classes, len(sampling.angles), disc)


def _make_chunks(index: Tensor, data: ParticleData) -> list[tuple[int, Tensor]]:
    """Pieces of the particles of one fold each, sized so that threads share the work whatever their number."""
    size = max(2 * BATCH, min(2048, -(-len(index) // 16)))
    chunks = []
    for fold in range(data.folds):
        members = index[data.fold[index] == fold]
        chunks += [(fold, part) for part in torch.split(members, size) if len(part)]
    return chunks


@dataclass
class Model:
    """The classes."""

    whole: Tensor
    """(K, d) complex64, of the run's disc: the averages of all particles, filtered and masked."""
    others: Tensor
    """(F, K, d): for the particles of each fold, the averages of all others."""
    limit: int
    """Shells the references hold."""
    log_prior: Tensor
    """(K,)."""

    @property
    def classes(self) -> int:
        return len(self.whole)


def prepare_references(model: Model, fold: int, sampling: Sampling, wide: Disc) -> References:
    size, shells = len(sampling.disc.rows), sampling.disc.radius + 1
    references = model.others[fold][:, :size]
    turned = turn_references(references, sampling.disc, sampling.angles)
    power = sampling.disc.shell_sums(references.abs() ** 2)
    power = torch.nn.functional.pad(power, (0, wide.radius + 1 - shells))
    return References(turned, power, model.log_prior)


def update_references(model: Model, result: RoundResult, geometry: Geometry, limits: Tensor | None = None) -> Tensor:
    """Make the averages the references of the next round: filtered to the model's limit, masked, centred.

    Args:
        limits: (K,) of each class instead.

    Returns:
        (K, 2) where the centres of mass were.
    """
    disc = result.averages.disc
    limits = torch.tensor(model.limit, device=disc.rows.device) if limits is None else limits
    filtered = filter_averages(result.averages, limits)
    whole = mask_references(filtered.whole, disc, geometry.box)
    centres = find_centres(whole, disc, geometry.box)
    phases = disc.phases(-centres) * (disc.shells <= limits[..., None])
    pad = (0, len(geometry.disc.rows) - len(disc.rows))
    model.whole = torch.nn.functional.pad(whole * phases, pad)
    others = torch.stack([mask_references(each, disc, geometry.box) * phases for each in filtered.others])
    model.others = torch.nn.functional.pad(others, pad)
    return centres
