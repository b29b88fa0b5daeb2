"""From a classification to the output record and its files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.algorithms.classification.particles import Poses
from magellon.backends.can_classifier import results
from magellon.backends.can_classifier.gallery import write_gallery
from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.backends.can_classifier.plan import Plan
from magellon.backends.can_classifier.tables import ParticleTable
from magellon.backends.can_classifier.verdict import Verdict, find_selected
from magellon.contracts import Classes, ClassificationOutput, Context
from magellon.io.mrc import MrcStackWriter

GALLERY = "class_averages.png"
_DUPLICATE_PART = 0.25
"""Diameters within which two centred particles are one."""


@dataclass(frozen=True)
class Finding:
    """Everything that is known at the end."""

    table: ParticleTable
    stars: tuple[Path, ...]
    plan: Plan
    rows: NDArray[np.int64]
    """(n,) of the table that are usable."""
    poses: Poses
    """(n,)"""
    verdict: Verdict


def write_output(
    finding: Finding, folders: Mapping[str, str], params: CanClassifierParams, context: Context
) -> ClassificationOutput:
    """Write all files into the working folder."""
    folder, box, verdict = context.workdir, finding.plan.box, finding.verdict
    with MrcStackWriter(folder / results.AVERAGES, box.size, box.pixel_size) as writer:
        for average in verdict.averages:
            writer.append(average)
    results.write_class_table(folder / results.CLASSES, verdict, folders, box.size * box.pixel_size)
    write_gallery(folder / GALLERY, verdict)
    assignment = assign_rows(finding)
    distance = params.minimum_distance
    distance = _DUPLICATE_PART * finding.plan.diameter if distance is None else distance
    selected = np.zeros(len(finding.table), dtype=bool)
    selected[finding.rows] = find_selected(verdict, params)
    kept = selected & ~results.find_repeated(finding.table, assignment, selected, distance)
    writer_of = results.ParticleWriter(finding.stars, finding.table, assignment, results.Names(folders), box.size)
    count = writer_of.write(folder / results.ALL, None)
    context.progress(0.99, "particles written")
    writer_of.write(folder / results.KEPT, kept)
    context.log.info(
        "%d of %d particles kept, in %d of %d classes; %d left out as the same as another",
        kept.sum(), count, verdict.selected.sum(), len(verdict.selected), (selected & ~kept).sum(),
    )  # fmt: skip
    if not kept.any():
        context.log.warning("no particle is kept: no class shows more than noise would (look at %s)", GALLERY)
    good = verdict.resolution[verdict.selected]
    return ClassificationOutput(
        classes=Classes(
            averages=folder / results.AVERAGES, table=folder / results.CLASSES, box=box.size, pixel_size=box.pixel_size
        ),
        particles=folder / results.KEPT,
        all_particles=folder / results.ALL,
        picture=folder / GALLERY,
        count=count,
        kept=int(kept.sum()),
        classes_used=int((verdict.occupancy > 0).sum()),
        resolution=round(float(good.min()), 3) if len(good) else None,
    )


def assign_rows(finding: Finding) -> results.Assignment:
    """What was found, for every row of the table; unusable ones are in class 0 where they lay before."""
    table, rows, poses = finding.table, finding.rows, finding.poses
    extent = finding.plan.box.size * finding.plan.box.pixel_size
    klass = np.zeros(len(table), dtype=np.int64)
    psi, probability, gain = (np.zeros(len(table)) for _ in range(3))
    junk = np.ones(len(table))
    origin = table.origin.astype(np.float64)
    klass[rows] = finding.verdict.klass
    junk[rows] = finding.verdict.particle_junk
    angle = poses.psi.double().numpy()
    psi[rows] = np.where(angle > 180, angle - 360, angle)
    origin[rows] += poses.shift.double().numpy() * extent
    probability[rows], gain[rows] = poses.weight.double().numpy(), poses.gain.double().numpy()
    return results.Assignment(klass, psi, origin, probability, gain, junk)
