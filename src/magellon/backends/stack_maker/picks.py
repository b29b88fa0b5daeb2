"""Picks as extraction needs them: the true centres, the scores, and the columns that go along."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.contracts import BadInput, Micrograph
from magellon.io.star import StarTable, read_star

NO_SCORE = -999.0
"""RELION's figure of merit of a pick that has none."""

_REPLACED = frozenset(
    {
        "rlnCoordinateX",
        "rlnCoordinateY",
        "rlnOriginXAngst",
        "rlnOriginYAngst",
        "rlnImageName",
        "rlnMicrographName",
        "rlnOpticsGroup",
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnDefocusAngle",
        "rlnPhaseShift",
        "rlnCtfBfactor",
        "rlnCtfScalefactor",
        "rlnCtfMaxResolution",
        "rlnCtfFigureOfMerit",
        "rlnRandomSubset",
        "rlnAutopickFigureOfMerit",
    }
)


@dataclass(frozen=True)
class PickTable:
    """The picks of one micrograph, in the order of their file."""

    centres: NDArray[np.float64]
    """(n, 2), (y, x) in pixels of the micrograph."""
    scores: NDArray[np.float64]
    """(n,) figures of merit, `NO_SCORE` where there is none."""
    others: dict[str, list[str]]
    """Further columns, such as angles and classes, which extraction hands on."""

    def select(self, keep: NDArray[np.bool_]) -> "PickTable":
        chosen = np.flatnonzero(keep)
        others = {label: [values[row] for row in chosen] for label, values in self.others.items()}
        return PickTable(self.centres[keep], self.scores[keep], others)


def read_pick_table(path: Path, micrograph: Micrograph) -> PickTable:
    """Read coordinates from a STAR file of picks or of particles.

    Picks have true coordinates, fractions included. Refined particles have origins as well; then RELION truncates the
    coordinate and the particle lies at trunc(coordinate) - origin. Origins that are all zero say nothing.

    Of a file about several micrographs, only the rows of this one are taken.

    Raises:
        BadInput: no coordinates in the file, none of this micrograph, or one that is not a finite number.
    """
    table = _select_micrograph(_coordinate_table(path), micrograph, path)
    centres = np.array([table.floats("rlnCoordinateY"), table.floats("rlnCoordinateX")], dtype=np.float64).T.reshape(-1, 2)
    bad = np.flatnonzero(~np.isfinite(centres).all(axis=1))
    if len(bad):
        y, x = centres[bad[0]]
        raise BadInput(f"{path}: row {bad[0] + 1}: the coordinate ({x}, {y}) is not finite")
    if "rlnOriginXAngst" in table:
        origins = np.array([table.floats("rlnOriginYAngst"), table.floats("rlnOriginXAngst")], dtype=np.float64).T.reshape(
            -1, 2
        )
        if origins.any():
            centres = np.trunc(centres) - origins / micrograph.pixel_size
    scores = np.array(table.floats("rlnAutopickFigureOfMerit", NO_SCORE), dtype=np.float64)
    scores = np.where(np.isfinite(scores), scores, NO_SCORE)
    others = {label: table.texts(label) for label in table if label not in _REPLACED}
    return PickTable(centres, scores, others)


def _select_micrograph(table: StarTable, micrograph: Micrograph, path: Path) -> StarTable:
    """The rows of one micrograph, known by its name or its movie's, without folders."""
    if len(set(table.get("rlnMicrographName", []))) <= 1:
        return table
    labels = [label for label in ("rlnMicrographName", "rlnMicrographMovieName") if label in table]
    own = {micrograph.name, micrograph.path.stem}
    rows = [row for row in range(table.rows) if any(Path(table[label][row]).stem in own for label in labels)]
    if not rows:
        raise BadInput(
            f"{path}: coordinates on {len(set(table['rlnMicrographName']))} micrographs, none of them {micrograph.name}"
        )
    return StarTable({label: [values[row] for row in rows] for label, values in table.items()}, source=table.source)


def _coordinate_table(path: Path) -> StarTable:
    tables = read_star(path)
    for table in tables.values():
        if "rlnCoordinateX" in table:
            return table
    raise BadInput(f"{path}: no table with rlnCoordinateX; there are {', '.join(f'data_{name}' for name in tables)}")
