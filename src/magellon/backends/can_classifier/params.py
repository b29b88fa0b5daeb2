"""The parameters of `can-classifier`."""

from typing import Annotated, Literal

from pydantic import Field

from magellon.contracts import BadInput, Params
from magellon.units import Angstrom

_MOST, _PER_CLASS = 50, 50


class CanClassifierParams(Params):
    classes: Annotated[int, Field(ge=1, le=500)] | None = None
    """How many classes to sort the particles into; left out, one for each 50 particles, and at most 50."""
    diameter: Annotated[Angstrom, Field(gt=0)] | None = None
    """Of the particle; left out, that of its picks, or two thirds of the box."""
    resolution: Annotated[Angstrom, Field(gt=0)] | None = None
    """Finest details looked at; left out, a 24th of the diameter but not finer than the pixels allow or 6 Å."""
    rounds: Annotated[int, Field(ge=2, le=200)] = 25
    """Rounds of alignment; early ones look at a part of the particles, the last two at all."""
    seeds: Literal["neighbours", "can", "random", "splitting"] = "neighbours"
    """How the first classes are found: from pairs of particles that look alike, by the autoencoder (CAN), at random, or by
    splitting classes in two."""
    max_shift: Annotated[Angstrom, Field(gt=0)] | None = None
    """How far along x and y from the middle of its box a particle may lie, at most half the box; left out, an eighth of the
    diameter."""
    ignore_ctf_first_peak: bool = False
    """Leave amplitudes alone up to the first peak of the CTF, for particles whose averages come out with dark haloes."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Classes that are junk with at least this probability are set aside."""
    select: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Numbers of classes, from 1, to keep whatever their quality."""
    reject: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Numbers of classes, from 1, to set aside whatever their quality."""
    minimum_distance: Annotated[Angstrom, Field(ge=0)] | None = None
    """Of two kept particles closer than this once centred only the better one stays; left out, a quarter of the diameter."""

    def count_classes(self, particles: int) -> int:
        """How many for so many particles: fewer of them in a class do not tell its view from noise."""
        return self.classes or min(_MOST, -(-particles // _PER_CLASS))

    def check_choice(self, particles: int, given: int = 0) -> None:
        """Before hours are spent on so many particles.

        Args:
            given: classes that it begins with.

        Raises:
            BadInput: a class is both to be kept and to be set aside, or has a number that none will have.
        """
        both = sorted(set(self.select) & set(self.reject))
        if both:
            raise BadInput(f"select and reject: class {both[0]} is in both")
        most, classes = max(self.select + self.reject, default=0), max(min(self.count_classes(particles), particles), given)
        if most > classes:
            name = "select" if most in self.select else "reject"
            raise BadInput(f"{name}: there is no class {most}; of {particles} particles there will be at most {classes}")
