"""Hole detection: a medium-magnification image of a square gives the holes of its film, ranked as targets."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import GridImage
from magellon.units import Degree, SubPixel


class HoleInput(Record):
    image: GridImage
    """A square, or a part of one."""


class HoleOutput(Record):
    holes: Path
    """`NAME_holes.json`: of each hole centre, radius, score, ice, place in the lattice and rank; and the lattice."""
    star: Path
    """`NAME_holes.star`: the centres in pixels of the image, with their scores."""
    targets: Path
    """`NAME_holes.nav`: the holes worth going to, best first, as SerialEM navigator items."""
    picture: Path
    """The image with circles, lattice and ranks drawn over it (`NAME_holes.png`)."""
    count: Annotated[int, Field(ge=0)]
    good: Annotated[int, Field(ge=0)]
    """How many of them are worth going to."""
    lattice_angle: Degree | None = None
    """From +x toward +y, of the lattice vector nearest to +x; None where no lattice was found."""
    lattice_pitch: Annotated[SubPixel, Field(gt=0)] | None = None
    """Distance of neighbouring holes, in pixels of the image."""


HOLE_DETECTION = Contract("hole_detection", HoleInput, HoleOutput, sources={"image": "session.square"})
