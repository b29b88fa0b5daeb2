"""Boxes to `ParticleData`: read once, normalised, masked, transformed; kept in memory when they fit and in a file otherwise."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from magellon.algorithms.classification.disc import Disc
from magellon.algorithms.classification.particles import ParticleData
from magellon.algorithms.classification.preparation import (
    LARGEST,
    Box,
    Optics,
    Prepared,
    find_unusable,
    prepare_particles,
)
from magellon.algorithms.optics import CtfModel
from magellon.algorithms.parallel import map_in_order
from magellon.backends.can_classifier.source import read_boxes
from magellon.backends.can_classifier.store import Store
from magellon.backends.can_classifier.tables import ParticleTable
from magellon.contracts import BadInput, Context

FOLDS = 4
_FEW = 100
"""Optics groups with fewer particles take the noise of all."""
_MOVED = 4096
"""Rows moved at a time."""


@dataclass(frozen=True)
class Loaded:
    """The usable particles of a table."""

    data: ParticleData
    rows: NDArray[np.int64]
    """(n,) ascending: the rows of the table that `data` holds."""


def load_particles(
    table: ParticleTable, box: Box, disc: Disc, first_peak: bool, context: Context, say: Callable[[float, str], None]
) -> Loaded:
    """Read and prepare every particle.

    Raises:
        BadInput: no particle is usable.
    """
    count, shells = len(table), disc.radius + 1
    store = Store(count, 2 * (len(disc.rows) + shells), context)
    values = store.allocate(len(disc.rows), 2, half=True)
    power, transfer = store.allocate(shells), store.allocate(shells)
    background = torch.zeros(len(table.groups), shells, dtype=torch.float64)
    usable = torch.zeros(count, dtype=torch.bool)

    def prepare(part: tuple[NDArray[np.int64], NDArray[np.float32]]) -> tuple[NDArray[np.int64], Prepared | None]:
        rows, images = part
        boxes = torch.from_numpy(images).to(context.device)
        good = ~find_unusable(boxes)
        kept = rows[good.cpu().numpy()]
        return kept, _prepare(table, kept, boxes[good], box, disc, first_peak) if len(kept) else None

    done = 0
    parts = ((rows, images.copy()) for rows, images in read_boxes(table, box.size))
    for rows, prepared in map_in_order(prepare, parts, context.threads):
        done += len(rows)
        say(done / count, f"{done} of {count} particles read")
        if prepared is None:
            continue
        index = torch.from_numpy(rows)
        usable[index] = True
        values[index] = torch.view_as_real(prepared.values).cpu().to(values.dtype)
        power[index], transfer[index] = prepared.power.cpu(), prepared.transfer.cpu()
        background.index_add_(0, torch.from_numpy(table.group[rows].astype(np.int64)), prepared.background.cpu().double())
        store.forget()
    kept = usable.nonzero()[:, 0]
    if not len(kept):
        unusable = f"all are constant, or hold NaN or values beyond {LARGEST:g}"
        raise BadInput(f"{table.stacks[0]}: none of the {count} images is usable: {unusable}")
    if len(kept) < count:
        said = "%d of %d images are left out: constant, or with pixels that are NaN or beyond %g"
        context.log.warning(said, count - len(kept), count, LARGEST)
    values, power, transfer = (_compact(each, kept) for each in (values, power, transfer))
    group = torch.from_numpy(table.group.astype(np.int64))[kept]
    noise = _measure_noise(background, torch.bincount(group, minlength=len(table.groups)))
    data = ParticleData(
        values=values,
        power=power,
        transfer=transfer,
        group=group,
        fold=torch.arange(len(kept)) % FOLDS if len(kept) >= FOLDS * 2 else torch.arange(len(kept)) % 2,
        noise=noise,
        forget=store.forget,
    )
    return Loaded(data, kept.numpy())


def _compact(values: Tensor, kept: Tensor) -> Tensor:
    """Move the kept rows to the front, in place."""
    if len(kept) < len(values):
        for start in range(0, len(kept), _MOVED):
            part = kept[start : start + _MOVED]
            values[start : start + len(part)] = values[part].clone()
    return values[: len(kept)]


def _prepare(table: ParticleTable, rows: NDArray[np.int64], boxes: Tensor, box: Box, disc: Disc, first_peak: bool) -> Prepared:
    """Group by group, as the microscope's constants differ."""
    group = table.group[rows]
    present = np.unique(group).tolist()
    parts, places = [], []
    for number in present:
        inside = np.flatnonzero(group == number)
        place = torch.from_numpy(inside).to(boxes.device)
        optics = _make_optics(table, rows[inside], number, boxes.device)
        parts.append(prepare_particles(boxes[place], optics, box, disc, first_peak))
        places.append(place)
    back = torch.argsort(torch.cat(places))
    joined = (torch.cat([getattr(part, name) for part in parts])[back] for name in Prepared.__dataclass_fields__)
    prepared = Prepared(*joined)
    shift = torch.from_numpy(table.origin[rows] / (box.pixel_size * box.size)).to(boxes.device)
    return Prepared(prepared.values * disc.phases(shift), prepared.power, prepared.transfer, prepared.background)


def _make_optics(table: ParticleTable, rows: NDArray[np.int64], number: int, device: torch.device) -> Optics:
    if table.ctf is None:
        return Optics(None)
    group = table.groups[number]
    u, v, angle, phase, b_factor, scale = torch.from_numpy(table.ctf[rows]).to(device).unbind(1)
    model = CtfModel(u, v, angle, phase, group.voltage, group.spherical_aberration, group.amplitude_contrast)
    return Optics(model, scale, b_factor, group.flipped)


def _measure_noise(sums: Tensor, counts: Tensor) -> Tensor:
    """(groups, shells + 1): the spectrum outside the particles, from its sums over so many particles of each group."""
    overall = sums.sum(0) / counts.sum()
    own = sums / counts.clamp(min=1)[:, None]
    return torch.where((counts >= _FEW)[:, None], own, overall).float().clamp(min=1e-6)
