"""What a session is: its movies and how they were taken, from a `session.json` or from flags for a plain folder."""

import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from magellon.contracts import Record
from magellon.errors import BadInput
from magellon.io.files import find_suffix, is_text
from magellon.io.movie_header import MOVIE_SUFFIXES
from magellon.platform.sessions.places import Place
from magellon.units import Angstrom, AngstromPerPixel, Exposure, Kilovolt, Millimetre

SESSION_FILE = "session.json"
Source = Literal["epu", "serialem", "leginon", "session.json", "plain"]
"""Who described a session: an acquisition program, a person, or nobody."""


class Acquisition(Record):
    """How the movies were taken. Each may be left out where a `session.json` or the files say it."""

    pixel_size: Annotated[AngstromPerPixel, Field(gt=0.01, lt=1000)] | None = None
    voltage: Annotated[Kilovolt, Field(ge=10, le=1500)] | None = None
    spherical_aberration: Annotated[Millimetre, Field(ge=0, le=20)] | None = None
    amplitude_contrast: Annotated[float, Field(ge=0, lt=1)] | None = None
    exposure_per_frame: Annotated[Exposure, Field(gt=0, le=100)] | None = None
    """Per frame as stored. Unknown: no dose weighting."""
    pre_exposure: Annotated[Exposure, Field(ge=0, le=1000)] | None = None
    gain: str | None = None
    """Gain reference, relative to the session's folder or absolute."""
    gain_rotation: Literal[0, 90, 180, 270] | None = None
    gain_flip: Literal["none", "x", "y"] | None = None
    defects: str | None = None
    """Defect list or map, likewise."""
    metadata: str | None = None
    """Folder with the acquisition program's files, likewise, where they do not lie with the movies."""


class SessionFile(Acquisition):
    """`session.json`."""

    format: Literal["magellon-session"] = "magellon-session"
    version: Literal[1] = 1
    name: str
    movies: str
    """Glob pattern relative to the folder, such as `movies/*.tiff`."""
    optics_groups: dict[str, str] | None = None
    """Movie name > optics group."""
    particle_diameter: Annotated[Angstrom, Field(gt=0)] | None = None
    source: Source | None = None
    """Who described it."""
    places: tuple[Place, ...] | None = None
    """Where on the grid; an exposure has its movie's name. Pictures are named relative to the session's folder."""


def read_session(folder: Path, given: Acquisition | None = None) -> SessionFile:
    """The session in a folder; what is `given` wins over what `session.json` says.

    Raises:
        BadInput: no such folder, an invalid `session.json`, or no movies.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder} is not a folder")
    file = folder / SESSION_FILE
    values = _read_json(file) if file.is_file() else _propose(folder)
    values.update(given.model_dump(exclude_none=True) if given else {})
    try:
        session = SessionFile.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{file}: {where} = {first['input']!r}: {first['msg']}") from error
    return check_definition(session, file)


def check_definition(session: SessionFile, file: Path) -> SessionFile:
    """The same with a name that is a folder name.

    Raises:
        BadInput: its movies lie elsewhere.
    """
    if Path(session.movies).is_absolute() or ".." in Path(session.movies).parts:
        raise BadInput(f"{file}: movies = {session.movies!r} must stay within the session's folder")
    return session.model_copy(update={"name": clean_name(session.name)})


def _read_json(file: Path) -> dict[str, object]:
    try:
        values = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise BadInput(f"{file}: {error}") from error
    if not isinstance(values, dict):
        raise BadInput(f"{file}: holds no JSON object")
    return values


def _propose(folder: Path) -> dict[str, object]:
    """A plain folder of movies: those of its subfolder `movies`, or its own."""
    for pattern, place in (("movies/*", folder / "movies"), ("*", folder)):
        if place.is_dir() and any(is_movie(path) for path in place.iterdir()):
            return {"name": folder.resolve().name, "movies": pattern}
    raise BadInput(f"{folder} holds no {SESSION_FILE} and no movies ({', '.join(MOVIE_SUFFIXES)})")


def is_movie(path: Path) -> bool:
    """By its name; hidden files, such as those still being copied, are none, nor is what no text can name."""
    return find_suffix(path) in MOVIE_SUFFIXES and not path.name.startswith(".") and is_text(path)


def clean_name(name: str) -> str:
    """A name that is a folder name anywhere."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("._")[:100] or "session"
