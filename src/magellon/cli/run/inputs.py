"""From what a person named to the inputs of a category: one item per movie or micrograph."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magellon.cli.run.damaged import SetAside
from magellon.cli.run.grid_images import find_grid_images
from magellon.cli.run.micrographs import Found, find_micrographs
from magellon.cli.run.movies import find_movies
from magellon.cli.run.particles import find_classes, find_particles
from magellon.cli.run.picks import find_picks
from magellon.cli.run.request import Request
from magellon.cli.run.sessions import expand_sessions, is_session
from magellon.contracts import (
    ClassificationInput,
    ClassificationItem,
    CtfInput,
    DenoisingInput,
    ExtractionInput,
    FftInput,
    HoleInput,
    Micrograph,
    MotionInput,
    Movie,
    PickerTrainingInput,
    PickerTrainingItem,
    PickingInput,
    Record,
    SquareInput,
)
from magellon.errors import BadInput


@dataclass(frozen=True)
class Item:
    """One run of the backend, and what the session files need to know about it."""

    name: str
    input: Record
    movie: Movie | None = None
    micrograph: Micrograph | None = None


def find_items(request: Request, aside: SetAside | None = None) -> list[Item]:
    """What to compute, in the order of the files; `aside` gets movies and micrographs that cannot be read.

    Raises:
        BadInput: no files, a file that does not exist, one that does not suit the category, or none that can be read.
    """
    if request.category not in _FINDERS:
        raise BadInput(f"`magellon run` knows no inputs for {request.category}; it runs {', '.join(_FINDERS)}")
    if not request.files:
        raise BadInput("no files given")
    missing = [path for path in request.files if not path.exists()]
    if missing:
        raise BadInput(f"{missing[0]} does not exist")
    aside = aside if aside is not None else SetAside()
    items = _FINDERS[request.category](request, aside)
    if not items and aside.files:
        raise BadInput(aside.files[0].reason)
    if not items:
        raise BadInput(f"{request.files[0]}: nothing in it to run {request.category} on")
    return items


def _find_squares(request: Request, _: SetAside) -> list[Item]:
    return [Item(each.name, SquareInput(image=each)) for each in find_grid_images(request.files, request.optics.pixel_size)]


def _find_holes(request: Request, _: SetAside) -> list[Item]:
    return [Item(each.name, HoleInput(image=each)) for each in find_grid_images(request.files, request.optics.pixel_size)]


def _find_motion(request: Request, aside: SetAside) -> list[Item]:
    movies = []
    plain = [path for path in request.files if not is_session(path)]
    if plain:
        movies += find_movies(plain, request.optics, request.movie, aside)
    movies += expand_sessions([path for path in request.files if path not in plain], request)
    return [Item(movie.name, MotionInput(movie=movie), movie=movie) for movie in movies]


def _find_ctf(request: Request, aside: SetAside) -> list[Item]:
    return _each(
        request,
        aside,
        lambda found: CtfInput(micrograph=found.unweighted, group_spectrum=found.group_spectrum),
    )


def _find_fft(request: Request, aside: SetAside) -> list[Item]:
    return _each(request, aside, lambda found: FftInput(micrograph=found.unweighted))


def _find_denoising(request: Request, aside: SetAside) -> list[Item]:
    return _each(request, aside, lambda found: DenoisingInput(micrograph=found.micrograph))


def _find_picking(request: Request, aside: SetAside) -> list[Item]:
    return _each(request, aside, lambda found: PickingInput(micrograph=found.micrograph, ctf=found.ctf))


def _find_extraction(request: Request, aside: SetAside) -> list[Item]:
    found = _micrographs(request, aside)
    picks = find_picks(found, request.beside)
    return [
        Item(
            each.micrograph.name,
            ExtractionInput(micrograph=each.micrograph, picks=picks[each.micrograph.name], ctf=each.ctf),
            micrograph=each.micrograph,
        )
        for each in found
        if each.micrograph.name in picks
    ]


def _find_classification(request: Request, _: SetAside) -> list[Item]:
    """All STAR files together are one item."""
    items = [ClassificationItem(particles=find_particles(path)) for path in request.files]
    start = find_classes(request.beside.start) if request.beside.start is not None else None
    return [Item(request.files[0].stem, ClassificationInput(items=tuple(items), start=start))]


def _find_training(request: Request, aside: SetAside) -> list[Item]:
    """All micrographs with picks make one item."""
    found = _micrographs(request, aside)
    picks = find_picks(found, request.beside)
    items = tuple(
        PickerTrainingItem(micrograph=each.micrograph, picks=picks[each.micrograph.name])
        for each in sorted(found, key=lambda each: each.micrograph.name)
        if each.micrograph.name in picks
    )
    if request.beside.kept is not None and not request.beside.kept.is_file():
        raise BadInput(f"{request.beside.kept} does not exist")
    return [Item("picker", PickerTrainingInput(items=items, kept=request.beside.kept))]


def _micrographs(request: Request, aside: SetAside) -> list[Found]:
    return find_micrographs(request.files, request.optics, request.beside.ctf, aside)


def _each(request: Request, aside: SetAside, make: Callable[[Found], Record]) -> list[Item]:
    return [Item(found.micrograph.name, make(found), micrograph=found.micrograph) for found in _micrographs(request, aside)]


_FINDERS: Mapping[str, Callable[[Request, SetAside], list[Item]]] = {
    "square_detection": _find_squares,
    "hole_detection": _find_holes,
    "motion_correction": _find_motion,
    "ctf_estimation": _find_ctf,
    "fft": _find_fft,
    "micrograph_denoising": _find_denoising,
    "particle_picking": _find_picking,
    "particle_extraction": _find_extraction,
    "two_d_classification": _find_classification,
    "picker_training": _find_training,
}


def categories() -> tuple[str, ...]:
    """The categories that run on plain files."""
    return tuple(_FINDERS)


def with_inputs_absolute(record: Record) -> dict[str, Any]:
    """The record as plain data with absolute paths, for a child process."""
    return dict(record.map_paths(Path.absolute).model_dump(mode="json"))
