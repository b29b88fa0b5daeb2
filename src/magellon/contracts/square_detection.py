"""Square detection: a low-magnification image of a grid gives its squares, ranked as targets."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import GridImage


class SquareInput(Record):
    image: GridImage
    """An atlas, or a montage of one."""


class SquareOutput(Record):
    squares: Path
    """`NAME_squares.json`: of each square corners, centre, area, brightness, kind, scores and rank."""
    star: Path
    """`NAME_squares.star`: the centres in pixels of the image, with their scores."""
    targets: Path
    """`NAME_squares.nav`: the squares worth going to, best first, as SerialEM navigator items."""
    picture: Path
    """The image with outlines and ranks drawn over it (`NAME_squares.png`)."""
    count: Annotated[int, Field(ge=0)]
    good: Annotated[int, Field(ge=0)]
    """How many of them are worth going to."""


SQUARE_DETECTION = Contract("square_detection", SquareInput, SquareOutput, sources={"image": "session.atlas"})
