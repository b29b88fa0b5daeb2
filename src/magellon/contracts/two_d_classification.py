"""2D classification: the particles of a session become class averages, and the junk among them is set aside."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import Particles, PositivePixelSize
from magellon.units import Angstrom, Pixel


class Classes(Record):
    """What a classification found, as another one may start from it."""

    averages: Path
    """`class_averages.mrcs`, (classes, box, box)."""
    table: Path
    """`class_averages.star`: of each class its occupancy, resolution, quality, and whether it is selected."""
    box: Pixel
    pixel_size: PositivePixelSize


class ClassificationItem(Record):
    """What one micrograph gave."""

    particles: Particles


class ClassificationInput(Record):
    items: Annotated[tuple[ClassificationItem, ...], Field(min_length=1)]
    """By name."""
    start: Classes | None = None
    """Classes to begin with instead of new ones: those of the same session when it had fewer particles."""
    diameter: Annotated[Angstrom, Field(gt=0)] | None = None
    """Of the particle; a diameter among the parameters overrules it."""


class ClassificationOutput(Record):
    classes: Classes
    particles: Path
    """`particles.star`: the kept ones, with class, pose and optics, readable by RELION."""
    all_particles: Path
    """`all_particles.star`: every one, with class, pose and the probability that it is junk."""
    picture: Path
    """Gallery of the class averages by occupancy, with quality and selection (`class_averages.png`)."""
    count: Annotated[int, Field(ge=0)]
    kept: Annotated[int, Field(ge=0)]
    classes_used: Annotated[int, Field(ge=0)]
    resolution: Angstrom | None = None
    """Of the best class."""


TWO_D_CLASSIFICATION = Contract(
    "two_d_classification",
    ClassificationInput,
    ClassificationOutput,
    sources={"particles": "particle_extraction.particles"},
    gather=True,
    Item=ClassificationItem,
)
