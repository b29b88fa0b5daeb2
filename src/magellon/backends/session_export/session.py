"""A session as its own folder tells it: STAR files, a summary, and where the files lie that they name."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from magellon.backends.session_export.params import ExportParams
from magellon.contracts import BadInput
from magellon.io.files import reading
from magellon.io.star import StarTable, read_star
from magellon.io.star_stream import StarStream

CORRECTED, FITTED, PICKED, PARTICLES = "corrected_micrographs.star", "micrographs_ctf.star", "autopick.star", "particles.star"
_BLOCKS = {CORRECTED: "micrographs", FITTED: "micrographs", PICKED: "coordinate_files"}
CLASSIFICATION, CLASSIFIED = "two_d_classification", "all_particles.star"
NAME = "rlnMicrographName"
_MOTION = {"total_motion": "rlnAccumMotionTotal", "early_motion": "rlnAccumMotionEarly", "late_motion": "rlnAccumMotionLate"}
_FIT = {"phase_shift": "rlnPhaseShift", "ctf_score": "rlnCtfFigureOfMerit", "ctf_resolution": "rlnCtfMaxResolution"}
MICROGRAPH_METRICS = (*_MOTION, "defocus", "astigmatism", *_FIT, "picks", "particles")
"""Motion in Å summed over steps, defocus and astigmatism in Å, phase shift in degrees, resolution in Å."""
ALIASES = {"resolution": "ctf_resolution", "score": "ctf_score"}
"""Names that the same metrics have in the server's queries."""
PARTICLE_METRICS = {"pick_score": "rlnAutopickFigureOfMerit"}


@dataclass(frozen=True)
class Session:
    """What there is."""

    folder: Path
    tables: Mapping[str, StarTable]
    """By file, those of micrographs that exist."""
    optics: Mapping[str, StarTable]
    """By file, their optics tables."""
    particles: Path | None = None
    """The particle file itself, not the session's link to it, which may lead to a newer one before this one is read."""
    held: frozenset[str] = frozenset()
    """Names, without folder and suffix, of the micrographs that the filter holds back."""
    metrics: Mapping[str, dict[str, float]] = field(default_factory=dict)
    """By micrograph, what is known of it."""

    @property
    def name(self) -> str:
        return self.folder.name

    def micrographs(self) -> list[str]:
        """Every micrograph's name in the STAR files, in their order."""
        return list(dict.fromkeys(name for table in self.tables.values() for name in table.texts(NAME)))

    def count_picks(self) -> dict[str, int]:
        """By micrograph; reads every coordinate file."""
        table = self.tables.get(PICKED, StarTable())
        counts = {}
        for name, file in zip(table.get(NAME, []), table.get("rlnMicrographCoordinates", []), strict=True):
            counts[name] = sum(block.rows for block in read_star(self.folder / file).values() if "rlnCoordinateX" in block)
        return counts

    def open_particles(self) -> StarStream:
        assert self.particles is not None
        return StarStream(self.particles, "particles")


def read_session(folder: Path) -> Session:
    """Read what a session's folder says; particles are only looked at when asked for.

    Raises:
        BadInput: there are no results yet, or a file is damaged.
    """
    particles = (folder / PARTICLES).resolve()
    tables, optics = {}, {}
    for file, block in _BLOCKS.items():
        if (folder / file).exists():
            blocks = read_star(folder / file)
            if block not in blocks:
                raise BadInput(f"{folder / file}: no block data_{block}")
            tables[file] = blocks[block]
            optics[file] = blocks.get("optics", StarTable())
    if CORRECTED not in tables and FITTED not in tables:
        raise BadInput(f"{folder.name}: nothing to export: {folder} holds neither {CORRECTED} nor {FITTED} (yet)")
    metrics: dict[str, dict[str, float]] = {}
    if CORRECTED in tables:
        _add_motion(metrics, tables[CORRECTED], optics[CORRECTED])
    if FITTED in tables:
        _add_fits(metrics, tables[FITTED])
    return Session(
        folder, tables, optics, particles if particles.exists() else None, _read_held(folder / "summary.json"), metrics
    )


def choose_particle_file(session: Session, params: ExportParams) -> Session:
    """The session with the particles that are wanted: all of them, those with their classes, or those that were kept.

    Raises:
        BadInput: they are wanted by class, and there is no classification, or there are several.
    """
    if not (params.kept or params.classes):
        return session
    files = {path.parent.name: path for path in sorted(session.folder.glob(f"*/{CLASSIFIED}"))}
    if not files and params.classes:
        return session  # its own file may have classes
    if not files:
        raise BadInput(f"{session.name}: its particles are not classified (yet), so that none were kept")
    if len(files) > 1 and CLASSIFICATION not in files:
        raise BadInput(f"{session.name}: classified in {' and in '.join(files)}; one must be called {CLASSIFICATION}")
    found = files.get(CLASSIFICATION) or next(iter(files.values()))
    return replace(session, particles=(found.with_name(PARTICLES) if params.kept else found).resolve())


def stem(name: str) -> str:
    """The item that a file belongs to, for a micrograph named after it."""
    return PurePosixPath(name).stem


def _read_held(path: Path) -> frozenset[str]:
    if not path.exists():
        return frozenset()
    with reading(path):
        raw = path.read_bytes()
    try:
        return frozenset(map(str, json.loads(raw).get("held", {})))
    except (ValueError, AttributeError) as error:
        raise BadInput(f"{path}: not a session's summary: {error}") from error


def _add_motion(metrics: dict[str, dict[str, float]], table: StarTable, optics: StarTable) -> None:
    """The file holds pixels of the movie, as RELION's do."""
    sizes = dict(zip(optics.ints("rlnOpticsGroup"), optics.floats("rlnMicrographOriginalPixelSize"), strict=True))
    groups = table.ints("rlnOpticsGroup", 1)
    for metric, label in _MOTION.items():
        if label in table:
            for name, group, value in zip(table.texts(NAME), groups, table.floats(label), strict=True):
                metrics.setdefault(name, {})[metric] = value * sizes.get(group, 1.0)


def _add_fits(metrics: dict[str, dict[str, float]], table: StarTable) -> None:
    names = table.texts(NAME)
    for name, u, v in zip(names, table.floats("rlnDefocusU"), table.floats("rlnDefocusV"), strict=True):
        metrics.setdefault(name, {}).update(defocus=(u + v) / 2, astigmatism=abs(u - v))
    for metric, label in _FIT.items():
        if label in table:
            for name, value in zip(names, table.floats(label), strict=True):
                metrics.setdefault(name, {})[metric] = value
