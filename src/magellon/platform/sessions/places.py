"""Where on the grid: atlas > square > hole > exposure, with stage positions and pictures. An exposure has its movie's name."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from magellon.contracts import Record
from magellon.units import Angstrom, AngstromPerPixel, Degree, Exposure, Second, Unit

Micrometre = Annotated[float, Unit("µm")]
Kind = Literal["atlas", "square", "hole", "exposure"]
KINDS: tuple[Kind, ...] = ("atlas", "square", "hole", "exposure")
"""From the whole grid to one movie."""


class Tile(Record):
    """One image of an atlas."""

    name: str
    x: Micrometre | None = None
    y: Micrometre | None = None
    image: Path | None = None


class Shot(Record):
    """How a movie was taken, as its metadata say. What is unknown is left out."""

    taken_at: str | None = None
    """ISO 8601."""
    detector: str | None = None
    optics_group: str | None = None
    applied_defocus: Angstrom | None = None
    """As set, positive = underfocus."""
    exposure: Exposure | None = None
    """In total."""
    exposure_per_frame: Exposure | None = None
    exposure_time: Second | None = None
    frames: int | None = None
    pixel_size: AngstromPerPixel | None = None
    tilt: Degree | None = None
    image_shift: tuple[float, float] | None = None
    """SerialEM and Leginon: µm on the specimen, with the sign that they write."""
    beam_shift: tuple[float, float] | None = None
    """Leginon: µm. EPU: a setting without unit, of which 1 is about 26 µm on the specimen, with EPU's sign."""


class Place(Record):
    """One place, which the name and the kind tell from all others of its session."""

    kind: Kind
    name: Annotated[str, Field(min_length=1, max_length=400)]
    parent: str | None = None
    """Name of the place it lies in, of the nearest kind above that has one of that name."""
    x: Micrometre | None = None
    y: Micrometre | None = None
    z: Micrometre | None = None
    """Of the stage."""
    magnification: float | None = None
    pixel_size: AngstromPerPixel | None = None
    """Of the picture as the microscope stored it."""
    image_shape: tuple[int, int] | None = None
    """(height, width) of that, px; a smaller copy of it may be all that is left."""
    image: Path | None = None
    state: str | None = None
    """In the words of the acquisition program."""
    tiles: tuple[Tile, ...] = ()
    shot: Shot | None = None


def find_parent(place: Place, names: dict[Kind, set[str]]) -> tuple[Kind, str] | None:
    """Kind and name of the place in which one lies, of the `names` there are; None at the top or where it is not listed."""
    if place.parent is None:
        return None
    for kind in reversed(KINDS[: KINDS.index(place.kind)]):
        if place.parent in names.get(kind, ()):
            return kind, place.parent
    return None
