"""The files of a classification: class averages, and the particles as RELION reads them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.algorithms.extraction.duplicates import find_duplicates
from magellon.backends.can_classifier.optics import make_optics_table
from magellon.backends.can_classifier.tables import ParticleTable, iterate_pieces, open_particles
from magellon.backends.can_classifier.verdict import Verdict
from magellon.io.star import StarTable, write_star
from magellon.io.star_stream import write_star_stream

AVERAGES, CLASSES = "class_averages.mrcs", "class_averages.star"
ALL, KEPT = "all_particles.star", "particles.star"
CATEGORY = "two_d_classification"

_OLD = frozenset(
    {
        "rlnOriginX", "rlnOriginY", "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnDetectorPixelSize",
        "rlnMagnification", "rlnPixelSize", "rlnImagePixelSize", "rlnCtfDataArePhaseFlipped", "rlnNrOfSignificantSamples",
        "rlnLogLikeliContribution", "rlnNormCorrection", "rlnGroupNumber", "rlnGroupName", "magellonJunkProbability",
    }
)  # fmt: skip
"""Labels of earlier versions or of an earlier classification that would contradict what is written."""

COLUMNS = (
    "rlnClassNumber", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst", "rlnMaxValueProbDistribution",
    "rlnLogLikeliContribution", "magellonJunkProbability",
)  # fmt: skip
"""What a classification adds."""


@dataclass(frozen=True)
class Assignment:
    """Of every row (n,) of a table; class 0: not usable, so in no class."""

    klass: NDArray[np.int64]
    psi: NDArray[np.float64]
    origin: NDArray[np.float64]
    """(n, 2) Å, (y, x)."""
    probability: NDArray[np.float64]
    """Of the best class and pose."""
    gain: NDArray[np.float64]
    """Log-likelihood over that of no particle."""
    junk: NDArray[np.float64]
    """Probability; 1 for those not usable."""


def find_repeated(
    table: ParticleTable, assignment: Assignment, chosen: NDArray[np.bool_], distance: float
) -> NDArray[np.bool_]:
    """(n,) True for chosen particles that, once centred, lie closer than `distance` (Å) to a better chosen one."""
    repeated = np.zeros(len(table), dtype=bool)
    pixel = np.array([group.micrograph_pixel_size for group in table.groups])[table.group]
    centre = np.floor(table.place) * pixel[:, None] - assignment.origin
    known = np.flatnonzero(chosen & ~np.isnan(centre).any(1))
    if distance > 0 and len(known):
        # Micrographs side by side, so that all are looked at in one go.
        apart = np.abs(centre[known]).max() * 4 + 10 * distance
        coordinates = centre[known] + np.stack([table.micrograph[known] * apart, np.zeros(len(known))], axis=1)
        repeated[known[find_duplicates(coordinates, assignment.gain[known], distance)]] = True
    return repeated


def write_class_table(path: Path, verdict: Verdict, folders: Mapping[str, str], extent: float) -> None:
    """`class_averages.star`: the classes, and of each the correlation of its halves in shells of a box `extent` Å wide."""
    name = _place(folders, CATEGORY, AVERAGES)
    total = max(int(verdict.occupancy.sum()), 1)
    columns = {
        "rlnReferenceImage": [f"{number:06d}@{name}" for number in range(1, len(verdict.occupancy) + 1)],
        "rlnClassDistribution": (verdict.occupancy / total).tolist(),
        "rlnEstimatedResolution": verdict.resolution.tolist(),
        "rlnClassScore": verdict.quality.tolist(),
        "rlnSelected": verdict.selected.astype(int).tolist(),
        "magellonParticles": verdict.occupancy.tolist(),
        "magellonJunkProbability": verdict.junk.tolist(),
    }
    curves = {
        f"model_class_{number}": _make_curve(verdict, number - 1, extent) for number in range(1, len(verdict.occupancy) + 1)
    }
    write_star(path, {"model_classes": StarTable(columns)} | curves)


def _make_curve(verdict: Verdict, index: int, extent: float) -> StarTable:
    shells = np.arange(1, verdict.correlation.shape[1])
    return StarTable(
        {
            "rlnSpectralIndex": shells.tolist(),
            "rlnResolution": (shells / extent).round(6).tolist(),
            "rlnAngstromResolution": (extent / shells).round(4).tolist(),
            "rlnFourierShellCorrelation": verdict.correlation[index, 1:].round(6).tolist(),
            "magellonUnbiased": (shells > verdict.biased).astype(int).tolist(),
        }
    )


@dataclass(frozen=True)
class ParticleWriter:
    """Writes the particles of the input, in its order, with what a classification found."""

    stars: Sequence[Path]
    table: ParticleTable
    assignment: Assignment
    """Its columns replace those of the input with the same labels."""
    names: "Names"
    box: int

    def write(self, path: Path, chosen: NDArray[np.bool_] | None) -> int:
        """Write all rows, or the chosen ones; columns that not all files of the input have are left out.

        Returns:
            How many.
        """
        labels = [label for label in _shared_labels(self.stars) if label not in _OLD and label not in COLUMNS]
        every = [*labels, *(["rlnOpticsGroup"] if "rlnOpticsGroup" not in labels else []), *COLUMNS]
        head = {"optics": make_optics_table(self.table.groups, self.box)}
        return write_star_stream(path, head, "particles", every, self._pieces(every, chosen))

    def _pieces(self, labels: Sequence[str], chosen: NDArray[np.bool_] | None) -> Iterator[StarTable]:
        start = 0
        for _, piece in iterate_pieces(self.stars):
            rows = np.arange(start, start + piece.rows)
            start += piece.rows
            kept = np.arange(piece.rows) if chosen is None else np.flatnonzero(chosen[rows])
            if len(kept):
                yield self._make_piece(piece, rows[kept], kept.tolist(), labels)

    def _make_piece(self, piece: StarTable, rows: NDArray[np.int64], kept: list[int], labels: Sequence[str]) -> StarTable:
        given = self.names.rename(piece)
        fresh = format_columns(self.assignment, rows)
        fresh["rlnOpticsGroup"] = [str(number) for number in (self.table.group[rows] + 1).tolist()]
        return StarTable({label: fresh.get(label) or [given[label][k] for k in kept] for label in labels})


def format_columns(assignment: Assignment, rows: NDArray[np.int64]) -> dict[str, list[str]]:
    """The columns a classification adds, as text, of some rows."""
    origin = assignment.origin[rows]
    values = (
        assignment.psi[rows], origin[:, 1], origin[:, 0],
        assignment.probability[rows], assignment.gain[rows], assignment.junk[rows],
    )  # fmt: skip
    texts = ([str(number) for number in assignment.klass[rows].tolist()], *map(_format, values))
    return dict(zip(COLUMNS, texts, strict=True))


def _format(values: NDArray[np.float64]) -> list[str]:
    return [f"{value:.6f}" for value in values.tolist()]


def _shared_labels(stars: Sequence[Path]) -> list[str]:
    """Columns that all files have, in the order of the first."""
    shared: list[str] | None = None
    for star in stars:
        with open_particles(star) as stream:
            shared = stream.labels if shared is None else [label for label in shared if label in stream.labels]
    return shared or []


@dataclass(frozen=True)
class Names:
    """What images and micrographs are called in the files written."""

    folders: Mapping[str, str]
    """Of a session; empty outside of one, where names stay as they are."""

    def rename(self, piece: StarTable) -> StarTable:
        if not self.folders:
            return piece
        renamed = StarTable(piece, source=piece.source)
        renamed["rlnImageName"] = [
            f"{name.partition('@')[0]}@{_place(self.folders, 'particle_extraction', name.partition('@')[2])}"
            for name in piece.texts("rlnImageName")
        ]
        if "rlnMicrographName" in piece:
            category = "motion_correction" if "motion_correction" in self.folders else "micrograph"
            renamed["rlnMicrographName"] = [_place(self.folders, category, name) for name in piece.texts("rlnMicrographName")]
        return renamed


def _place(folders: Mapping[str, str], category: str, name: str) -> str:
    """The name of a result relative to the session folder."""
    folder = folders.get(category, category if folders else "").strip("/")
    file = Path(name).name
    return f"{folder}/{file}" if folder else file
