"""2D classification: the particles of a session become class averages, and the junk among them is set aside."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import Particles, Picks, PositivePixelSize
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
    picks: Picks | None = None
    """From which the particles were extracted; tells their diameter."""


class ClassificationInput(Record):
    items: Annotated[tuple[ClassificationItem, ...], Field(min_length=1)]
    """By name."""
    start: Classes | None = None
    """Classes to begin with instead of new ones: those of the same session when it had fewer particles."""
    folders: dict[str, str] = Field(default_factory=dict)
    """Category > folder of the session in which its files appear ("" for the session folder itself); empty outside of one."""

    @property
    def diameter(self) -> float | None:
        """Of the particle as it was picked, Å; a diameter among the parameters overrules it."""
        return max((item.picks.diameter for item in self.items if item.picks is not None), default=None)


class ClassificationOutput(Record):
    """STAR files name images relative to the session folder when `folders` are given: `000001@particle_extraction/NAME.mrcs`.
    Their own files appear in the folder `folders["two_d_classification"]` of the session."""

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
    sources={
        "particles": "particle_extraction.particles",
        "picks": "particle_picking.picks",
        "start": "two_d_classification.classes",
    },
    gather=True,
    Item=ClassificationItem,
    counted="particles",
)
