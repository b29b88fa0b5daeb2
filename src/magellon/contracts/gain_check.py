"""Gain check: on the first movies of a session, before all others, which way the gain reference lies.

Acquisition programs write the reference as they like, and a wrong orientation spoils every micrograph without a message.
"""

from typing import Annotated

from pydantic import Field

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import GainOrientation, Movie


class GainCheckItem(Record):
    """One movie of the sample."""

    movie: Movie


class GainCheckInput(Record):
    items: Annotated[tuple[GainCheckItem, ...], Field(min_length=1)]
    """By name."""


class CheckedGain(Record):
    """What the movies say of one gain reference."""

    gain: str
    """File name."""
    movies: int
    """Of the sample, that have this reference."""
    orientation: GainOrientation | None
    """That which the movies show; None when they do not show any clearly."""
    correlation: float
    """Of the movies' pattern with that of the best orientation."""
    margin: float
    """By which it is ahead of the second, in standard deviations of unrelated noise."""
    given: float
    """Correlation in the orientation that was given."""


class GainCheckOutput(Record):
    gains: tuple[CheckedGain, ...]
    """By file name; empty when the movies have no gain reference."""


GAIN_CHECK = Contract(
    "gain_check",
    GainCheckInput,
    GainCheckOutput,
    sources={"movie": "session.movie"},
    gather=True,
    sample=3,
    Item=GainCheckItem,
)
