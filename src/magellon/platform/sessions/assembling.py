"""From what an importer read to movies that can be processed: headers, pixel sizes, exposures, optics groups, gain."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from magellon.contracts import Gain, Movie, Optics
from magellon.io.movie_header import MovieHeader
from magellon.platform.sessions.definition import SessionFile
from magellon.platform.sessions.epu import EXPOSURE
from magellon.platform.sessions.found import Described, FoundMovie, Metadata
from magellon.platform.sessions.headers import find_odd_sizes
from magellon.platform.sessions.pixel_size import fit_pixel_size
from magellon.platform.sessions.places import Place, Shot
from magellon.platform.sessions.references import References, check_references, find_references
from magellon.platform.sessions.scan import find_reference, name_movies, read_headers
from magellon.platform.sessions.shifts import Shifted, group_movies
from magellon.platform.sessions.tree import HeaderCache, Tree

_MAX_EXPOSURE = 100.0
"""e/Å² of one frame: more than any movie has in all frames together."""

Camera = tuple[str | None, str | None, str | None]
"""Detector, and the file names of its gain and defects as the metadata give them."""


@dataclass(frozen=True)
class Assembled:
    """Movies by name, the exposures' places, and what was found wrong on the way."""

    movies: list[FoundMovie]
    exposures: list[Place]
    problems: list[str]


@dataclass
class Memory:
    """What is needed of movies described before to describe more."""

    shifted: dict[str, Shifted] = field(default_factory=dict)
    references: dict[Camera, References] = field(default_factory=dict)
    typical: Described | None = None


@dataclass(frozen=True)
class _Entry:
    """One movie on its way."""

    name: str
    path: Path
    header: MovieHeader | None
    described: Described
    own: bool
    """Whether the description is this movie's."""
    pixel_size: float | None
    problem: str | None


def assemble_movies(
    tree: Tree,
    session: SessionFile,
    metadata: Metadata,
    cache: HeaderCache,
    known: Mapping[str, str] | None = None,
    names: Mapping[str, Path] | None = None,
) -> Assembled:
    """Put together what the movies' headers and their metadata say; what `session` gives wins.

    Args:
        known: movie > optics group it was assigned to before.
        names: of some movies of the session only; all others were assembled with the same cache before.

    Raises:
        BadInput: a gain or defect file that a person gave is missing or does not fit; two movies of the same name.
    """
    memory = _remember(cache, tree.folder, names is None)
    names = names or name_movies(list(metadata.movies))
    headers, damaged = read_headers(names, cache)
    problems: list[str] = []
    typical = _find_typical(metadata, memory, problems)
    entries = []
    for name, path in sorted(names.items()):
        own = metadata.movies.get(path)
        described = own or typical or _describe_nothing(name)
        header = headers.get(name)
        pixel = session.pixel_size or fit_pixel_size(described, header)
        problem = damaged.get(name)
        if pixel is None and problem is None:
            problem = f"{name}: neither its header nor the metadata give a pixel size that fits; give --pixel-size"
        entries.append(_Entry(name, path, header, described, own is not None, pixel, problem))
    _mark_odd_sizes(entries)
    groups = _group(entries, session, known or {}, memory)
    references = _find_all_references(tree, session, metadata, cache, entries, problems, memory)
    found, exposures = [], []
    for entry in entries:
        shot = _complete_shot(entry, session, groups[entry.name])
        if shot.exposure_per_frame is not None and not 0 < shot.exposure_per_frame <= _MAX_EXPOSURE:
            problems.append(f"{entry.name}: {shot.exposure_per_frame:g} e/Å² per frame makes no sense; it counts as unknown")
            shot = shot.model_copy(update={"exposure_per_frame": None, "exposure": None})
        movie = _make_movie(entry, session, shot, references[_camera(entry)])
        frames = entry.header.frames if entry.header else None
        found.append(FoundMovie(movie, entry.problem, shot if entry.own else None, entry.own, frames))
        place = entry.described.place if entry.own else _guess_place(entry.path)
        if place is not None:
            exposures.append(place.model_copy(update={"name": entry.name, "shot": shot if entry.own else None}))
    return Assembled(found, exposures, problems)


def _describe_nothing(name: str) -> Described:
    return Described(shot=Shot(), place=Place(kind="exposure", name=name))


def _guess_place(path: Path) -> Place | None:
    """From the name of a movie of EPU, when nothing else says where it was taken."""
    match = EXPOSURE.match(path.name)
    return Place(kind="exposure", name=path.stem, parent=f"FoilHole_{match.group('hole')}") if match else None


def _find_typical(metadata: Metadata, memory: Memory, problems: list[str]) -> Described | None:
    """What stands in for a missing description: what all others have in common, where they do."""
    described = [each for each in metadata.movies.values() if each is not None]
    missing = [path.name for path, each in metadata.movies.items() if each is None]
    if described and memory.typical is None:
        memory.typical = _find_common(described)
    if missing and (described or memory.typical):
        listed = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        what = "are taken as the others are" if memory.typical else "the others differ"
        problems.append(f"{len(missing)} movies have no metadata, and {what}: {listed}")
    return memory.typical


def _find_common(described: list[Described]) -> Described | None:
    kinds = {(each.shot.detector, each.shot.pixel_size, each.voltage, each.binning, each.part) for each in described}
    if len(kinds) > 1:
        return None
    first = described[0]

    def usual(name: str) -> float | None:
        values = [value for each in described if (value := getattr(each.shot, name)) is not None]
        return median(values) if values else None

    shot = Shot(
        detector=first.shot.detector,
        pixel_size=first.shot.pixel_size,
        exposure=usual("exposure"),
        exposure_per_frame=usual("exposure_per_frame"),
        frames=first.shot.frames,
    )
    return replace(first, shot=shot, shift=None, pattern=None)


def _remember(cache: HeaderCache, folder: Path, whole: bool) -> Memory:
    known = cache.sessions.get(folder)
    if whole or not isinstance(known, Memory):
        known = cache.sessions[folder] = Memory()
    return known


def _camera(entry: _Entry) -> Camera:
    return entry.described.shot.detector, entry.described.gain, entry.described.defects


def _mark_odd_sizes(entries: list[_Entry]) -> None:
    """Among movies of one detector, and only there."""
    by_camera: dict[str | None, dict[str, MovieHeader]] = {}
    for entry in entries:
        if entry.header is not None:
            by_camera.setdefault(entry.described.shot.detector, {})[entry.name] = entry.header
    odd = {name: problem for headers in by_camera.values() for name, problem in find_odd_sizes(headers).items()}
    for index, entry in enumerate(entries):
        if entry.name in odd and entry.problem is None:
            entries[index] = replace(entry, problem=odd[entry.name])


def _group(entries: list[_Entry], session: SessionFile, known: Mapping[str, str], memory: Memory) -> dict[str, str]:
    movies = [
        Shifted(
            name=entry.name,
            optics=(
                entry.described.part,
                entry.described.shot.detector,
                entry.described.place.magnification,
                entry.described.voltage,
                entry.described.spherical_aberration,
                round(entry.pixel_size, 4) if entry.pixel_size else None,
                (entry.header.height, entry.header.width) if entry.header and entry.problem is None else None,
            ),
            shift=entry.described.shift,
            label=entry.described.pattern,
            known=known.get(entry.name),
        )
        for entry in sorted(entries, key=lambda entry: (entry.described.shot.taken_at or "", entry.name))
        if entry.problem is None
    ]
    now = {movie.name for movie in movies}
    movies = [*(movie for name, movie in memory.shifted.items() if name not in now), *movies]
    groups = group_movies(movies, f"{session.name}_")
    if not known and len(set(groups.values())) == 1:
        groups = dict.fromkeys(groups, session.name)
    memory.shifted.update({movie.name: replace(movie, known=groups[movie.name]) for movie in movies})
    return {entry.name: groups.get(entry.name) or known.get(entry.name) or session.name for entry in entries}


def _find_all_references(
    tree: Tree,
    session: SessionFile,
    metadata: Metadata,
    cache: HeaderCache,
    entries: list[_Entry],
    problems: list[str],
    memory: Memory,
) -> dict[Camera, References]:
    """Gain and defects for each detector; looked for once."""
    found = memory.references
    gain = find_reference(tree.folder, session.gain, "gain")
    defects = find_reference(tree.folder, session.defects, "defects")
    for camera in sorted({_camera(entry) for entry in entries} - set(found), key=str):
        shapes = [
            (entry.header.height, entry.header.width)
            for entry in entries
            if _camera(entry) == camera and entry.header and entry.problem is None
        ]
        shape = max(shapes, key=shapes.count) if shapes else None
        if gain is not None and shape is not None:
            check_references(gain, defects, cache, shape)
        looked = find_references(tree, cache, camera[1:], shape, metadata.needs_gain) if gain is None else References()
        problems += [problem for problem in looked.problems if problem not in problems]
        found[camera] = References(gain or looked.gain, defects or looked.defects)
    return found


def _complete_shot(entry: _Entry, session: SessionFile, group: str) -> Shot:
    """With what the header adds: frames, and so the exposure of each."""
    shot, frames = entry.described.shot, entry.header.frames if entry.header else entry.described.shot.frames
    per_frame = session.exposure_per_frame or shot.exposure_per_frame
    total = shot.exposure
    if session.exposure_per_frame is not None and frames:
        total = per_frame * frames if per_frame else None
    elif frames and total is not None and (per_frame is None or frames != shot.frames):
        per_frame = total / frames
    elif total is None and per_frame is not None and frames:
        total = per_frame * frames
    update = {"frames": frames, "exposure_per_frame": per_frame, "exposure": total}
    return shot.model_copy(update={**update, "pixel_size": entry.pixel_size, "optics_group": group})


def _make_movie(entry: _Entry, session: SessionFile, shot: Shot, references: References) -> Movie:
    optics = {
        "voltage": session.voltage or entry.described.voltage,
        "spherical_aberration": _first(session.spherical_aberration, entry.described.spherical_aberration),
        "amplitude_contrast": session.amplitude_contrast,
        "group": shot.optics_group,
    }
    gain = None
    if references.gain is not None:
        gain = Gain(path=references.gain, rotation=session.gain_rotation or 0, flip=session.gain_flip or "none")
    return Movie(
        name=entry.name,
        path=entry.path,
        pixel_size=entry.pixel_size or 1.0,  # without one it has a problem and is never processed
        optics=Optics.model_validate({key: value for key, value in optics.items() if value is not None}),
        exposure_per_frame=shot.exposure_per_frame,
        pre_exposure=session.pre_exposure or 0.0,
        gain=gain,
        defects=references.defects,
    )


def _first(given: float | None, found: float | None) -> float | None:
    return found if given is None else given
