"""`session_export/cryosparc`: `.cs` tables of particles and exposures, their groups, and the same as STAR files."""

from collections.abc import Iterator
from functools import cache
from typing import Literal

import numpy as np

from magellon.backends.session_export.exposures import make_exposure_rows, size_micrographs
from magellon.backends.session_export.params import ExportParams
from magellon.backends.session_export.project import Project
from magellon.backends.session_export.selection import Selection, select_session, take_groups, take_rows
from magellon.backends.session_export.session import CORRECTED, FITTED, NAME, PARTICLES, read_session
from magellon.contracts import SESSION_EXPORT, Backend, Context, SessionExportInput, SessionExportOutput
from magellon.io.cryosparc import Rows, make_group, write_cs, write_csg
from magellon.io.cryosparc_particles import BRIGHT, DARK, Layout, ParticleContext, make_particle_rows
from magellon.io.mrc_header import read_mrc_header
from magellon.io.star import StarTable
from magellon.io.star_stream import write_star_stream

_PART_READING = 0.4


class CryosparcExportParams(ExportParams):
    particles_are: Literal["bright", "dark"] = "bright"
    """Of the boxes as they are stored; dark only if they were extracted with invert=False."""


class CryosparcExport(Backend[SessionExportInput, CryosparcExportParams, SessionExportOutput]):
    """A session as cryoSPARC's tables of particles and exposures, with STAR files that say the same."""

    contract = SESSION_EXPORT
    name = "cryosparc"
    Params = CryosparcExportParams

    def run(self, input: SessionExportInput, params: CryosparcExportParams, context: Context) -> SessionExportOutput:
        session = read_session(input.session)
        context.progress(0.0, "reading the session")
        layouts = _Layouts()
        selection = select_session(session, params, layouts.see)
        project = Project(context.workdir, session)
        _write_exposures(project, selection)
        if selection.particles:
            _write_particles(project, selection, layouts.found, params, context)
        return SessionExportOutput(
            project=project.folder,
            links=project.finish(),
            micrographs=len(selection.micrographs),
            micrographs_left_out=selection.micrographs_left_out,
            particles=selection.particles,
            particles_left_out=selection.particles_left_out,
        )


class _Layouts:
    """What all particles together say of alignments."""

    def __init__(self) -> None:
        self.found: Layout | None = None

    def see(self, piece: StarTable) -> None:
        layout = Layout.of(piece)
        self.found = self.found.and_of(layout) if self.found else layout


def _write_exposures(project: Project, selection: Selection) -> None:
    session = selection.session
    file = FITTED if FITTED in session.tables else CORRECTED
    kept = set(selection.micrographs)
    whole = session.tables[file]
    table, optics = take_groups(take_rows(whole, [name in kept for name in whole[NAME]]), session.optics[file])
    for label in (NAME, "rlnMicrographNameNoDW"):
        for name in table.get(label, []):
            project.link(name, name)
    labels = [label for label in table if label not in ("rlnMicrographMetadata", "rlnCtfImage")]
    project.write_star("micrographs.star", {"optics": optics, "micrographs": StarTable({x: table[x] for x in labels})})
    rows = make_exposure_rows(session, table, optics)
    write_cs(project.place("exposures.cs"), rows)
    write_csg(
        project.place("exposures.csg"),
        make_group("exposures", "exposure", f"Exposures of {session.name}", "exposures.cs", rows),
    )


def _write_particles(
    project: Project, selection: Selection, layout: Layout | None, params: CryosparcExportParams, context: Context
) -> None:
    session = selection.session
    about = ParticleContext(
        measure_box=lambda stack: read_mrc_header(session.folder / stack).width,
        measure_micrograph=cache(size_micrographs(session)),
        sign=BRIGHT if params.particles_are == "bright" else DARK,
        salt=session.name,
    )
    pieces: list[Rows] = []

    def convert() -> Iterator[StarTable]:
        done = 0
        for piece in selection.iterate():
            for stack in dict.fromkeys(name.partition("@")[2] for name in piece["rlnImageName"]):
                project.link(stack, stack)
            pieces.append(make_particle_rows(piece, selection.optics, about, layout))
            yield piece
            done += piece.rows
            context.progress(_PART_READING + (1 - _PART_READING) * done / selection.particles, f"particle {done}")

    write_star_stream(project.place(PARTICLES), {"optics": selection.optics}, "particles", selection.labels, convert())
    rows: Rows = np.concatenate(pieces)
    write_cs(project.place("particles.cs"), rows)
    group = make_group("particles", "particle", f"Particles of {session.name}", "particles.cs", rows)
    write_csg(project.place("particles.csg"), group)
