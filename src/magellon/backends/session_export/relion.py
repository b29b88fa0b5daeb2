"""`session_export/relion`: a project folder in which RELION goes on as if it had done the steps itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from magellon.backends.session_export.params import ExportParams
from magellon.backends.session_export.pipeline import COORDINATES, MICROGRAPHS, MOVIES, PARTICLES, Job, write_pipeline
from magellon.backends.session_export.project import Project, read_motion
from magellon.backends.session_export.selection import GROUP, Selection, select_session, take_groups, take_rows
from magellon.backends.session_export.session import CORRECTED, FITTED, NAME, PICKED, read_session
from magellon.backends.session_export.session import PARTICLES as PARTICLE_FILE
from magellon.contracts import SESSION_EXPORT, Backend, Context, SessionExportInput, SessionExportOutput
from magellon.io.star import StarTable
from magellon.io.star_stream import write_star_stream

IMPORT, MOTION, CTF = "Import/job001/", "MotionCorr/job002/", "CtfFind/job003/"
PICK, EXTRACT = "AutoPick/job004/", "Extract/job005/"
MOVIE_FOLDER = "movies/"
"""Below each job, as RELION repeats the movies' folder there. Polishing compares names from here on."""
_SUFFIX_FILE = "coords_suffix_autopick.star"
_METADATA, _UNWEIGHTED, _CTF_IMAGE = "rlnMicrographMetadata", "rlnMicrographNameNoDW", "rlnCtfImage"
_MOVIE_FILES = ("rlnMicrographMovieName", "rlnMicrographGainName", "rlnMicrographDefectFile")


class RelionExportParams(ExportParams):
    """What may be chosen for RELION: the common parameters alone."""


class RelionExport(Backend[SessionExportInput, RelionExportParams, SessionExportOutput]):
    """A session as a RELION project with its pipeline, from import to extraction."""

    contract = SESSION_EXPORT
    name = "relion"
    Params = RelionExportParams

    def run(self, input: SessionExportInput, params: RelionExportParams, context: Context) -> SessionExportOutput:
        session = read_session(input.session)
        context.progress(0.0, "reading the session")
        selection = select_session(session, params)
        project = Project(context.workdir, session)
        writer = _Writer(project, selection, context)
        jobs = writer.write_all()
        write_pipeline(project, jobs)
        return SessionExportOutput(
            project=project.folder,
            links=project.finish(),
            micrographs=len(selection.micrographs),
            micrographs_left_out=selection.micrographs_left_out,
            particles=selection.particles,
            particles_left_out=selection.particles_left_out,
        )


@dataclass
class _Writer:
    project: Project
    selection: Selection
    context: Context
    names: dict[str, str] = field(default_factory=dict)
    """Micrograph in the session > in the project."""

    def write_all(self) -> list[Job]:
        tables = self.selection.session.tables
        self._name_micrographs()
        jobs = [self._import()]
        source = next(iter(jobs[0].outputs))
        if CORRECTED in tables:
            jobs.append(self._correct(source))
            source = f"{MOTION}{CORRECTED}"
        if FITTED in tables:
            jobs.append(self._fit(source))
            source = f"{CTF}{FITTED}"
        if PICKED in tables:
            jobs.append(self._pick(source))
        if self.selection.labels:
            jobs.append(self._extract(source, picked=PICKED in tables))
        return jobs

    def _name_micrographs(self) -> None:
        """Those that we made lie in the folder of motion correction; others keep their name."""
        corrected = set(self._rows(CORRECTED).get(NAME, []))
        for name in self.selection.micrographs:
            self.names[name] = self.project.link(_below(MOTION, name) if name in corrected else name, name)

    def _rows(self, file: str) -> StarTable:
        """The chosen rows of a table of the session."""
        table = self.selection.session.tables.get(file, StarTable())
        kept = set(self.selection.micrographs)
        return take_rows(table, [name in kept for name in table.get(NAME, [])])

    def _renamed(self, file: str) -> dict[str, StarTable]:
        """The blocks of a micrograph table with the project's names."""
        table, optics = take_groups(self._rows(file), self.selection.session.optics[file])
        table[NAME] = [self.names[name] for name in table[NAME]]
        for label in (_METADATA, _UNWEIGHTED):
            if label in table:
                table[label] = [self.project.link(_below(MOTION, name), name) for name in table[label]]
        if _CTF_IMAGE in table:
            table[_CTF_IMAGE] = [self._link_spectrum(name) for name in table[_CTF_IMAGE]]
        return {"optics": optics, "micrographs": table}

    def _link_spectrum(self, name: str) -> str:
        """`FILE:mrc` says in which format to read the file."""
        path, colon, kind = name.partition(":")
        return self.project.link(_below(CTF, path), path) + colon + kind

    def _import(self) -> Job:
        tables = self.selection.session.tables
        if CORRECTED not in tables:
            table, optics = take_groups(self._rows(FITTED), self.selection.session.optics[FITTED])
            chosen = StarTable({label: table[label] for label in (NAME, GROUP) if label in table})
            chosen[NAME] = [self.names[name] for name in chosen[NAME]]
            self.project.write_star(f"{IMPORT}micrographs.star", {"optics": optics, "micrographs": chosen})
            return Job(IMPORT, 0, (), {f"{IMPORT}micrographs.star": MICROGRAPHS}, {"do_raw": "Yes", "is_multiframe": "No"})
        table, optics = take_groups(self._rows(CORRECTED), self.selection.session.optics[CORRECTED])
        movies = StarTable({"rlnMicrographMovieName": self._link_movies(table), GROUP: table[GROUP]})
        wanted = [label for label in optics if label != "rlnMicrographPixelSize"]
        self.project.write_star(
            f"{IMPORT}movies.star", {"optics": StarTable({label: optics[label] for label in wanted}), "movies": movies}
        )
        options = {"do_raw": "Yes", "is_multiframe": "Yes", "fn_in_raw": f"{MOVIE_FOLDER}*"}
        return Job(IMPORT, 0, (), {f"{IMPORT}movies.star": MOVIES}, options)

    def _link_movies(self, corrected: StarTable) -> list[str]:
        """The movie of each micrograph, by the name that its motion file gives it; gain and defects are linked too."""
        found = []
        missing: set[str] = set()
        for number, name in enumerate(corrected.texts(_METADATA)):
            general = read_motion(self.selection.session, name)
            files = [general.texts(label)[0] for label in _MOVIE_FILES if label in general]
            missing.update(file for file in files if not self.project.link_where_there(file, file))
            found.append(general.texts(_MOVIE_FILES[0])[0])
            if number % 100 == 0:
                self.context.progress(0.5 * number / corrected.rows, f"movie {number} of {corrected.rows}")
        if missing:
            self.context.log.warning(
                "%s and %d others that motion files name are not there: no links to them, so that polishing cannot use them",
                min(missing), len(missing) - 1,
            )  # fmt: skip
        return found

    def _correct(self, source: str) -> Job:
        self.project.write_star(f"{MOTION}{CORRECTED}", self._renamed(CORRECTED))
        options = {"input_star_mics": source, "do_own_motioncor": "Yes", "do_dose_weighting": "Yes"}
        return Job(MOTION, 1, (source,), {f"{MOTION}{CORRECTED}": MICROGRAPHS}, options)

    def _fit(self, source: str) -> Job:
        self.project.write_star(f"{CTF}{FITTED}", self._renamed(FITTED))
        return Job(CTF, 2, (source,), {f"{CTF}{FITTED}": MICROGRAPHS}, {"input_star_mics": source})

    def _pick(self, source: str) -> Job:
        """RELION 4 and later list the coordinate files; 3.1 finds them by the micrographs' names and a suffix."""
        table, label = self._rows(PICKED), "rlnMicrographCoordinates"
        table[label] = [self.project.link(_below(PICK, name), name) for name in table.texts(label)]
        table[NAME] = [self.names[name] for name in table[NAME]]
        self.project.write_star(f"{PICK}{PICKED}", {"coordinate_files": table})
        self.project.write_text(f"{PICK}{_SUFFIX_FILE}", f"{source}\n")
        outputs = {f"{PICK}{PICKED}": COORDINATES, f"{PICK}{_SUFFIX_FILE}": COORDINATES}
        return Job(PICK, 4, (source,), outputs, {"fn_input_autopick": source})

    def _extract(self, source: str, *, picked: bool) -> Job:
        target = f"{EXTRACT}{PARTICLE_FILE}"
        written = write_star_stream(
            self.project.place(target), {"optics": self.selection.optics}, "particles", self.selection.labels, self._particles()
        )
        assert written == self.selection.particles
        coordinates = (f"{PICK}{PICKED}", f"{PICK}{_SUFFIX_FILE}") if picked else ()
        options = {"star_mics": source} | ({"coords_suffix": f"{PICK}{_SUFFIX_FILE}"} if picked else {})
        return Job(EXTRACT, 5, (source, *coordinates), {target: PARTICLES}, options)

    def _particles(self) -> Iterator[StarTable]:
        done = 0
        for piece in self.selection.iterate():
            piece["rlnImageName"] = self._rename_images(piece["rlnImageName"])
            piece[NAME] = [self.names[name] for name in piece[NAME]]
            yield piece
            done += piece.rows
            self.context.progress(0.5 + 0.5 * done / self.selection.particles, f"particle {done}")

    def _rename_images(self, names: Sequence[str]) -> list[str]:
        renamed = []
        for name in names:
            number, at, stack = name.partition("@")
            renamed.append(number + at + self.project.link(_below(EXTRACT, stack), stack))
        return renamed


def _below(job: str, name: str) -> str:
    """Where a job of RELION would have written a file."""
    return f"{job}{MOVIE_FOLDER}{PurePosixPath(name).name}"
