"""Particle survey: a few micrographs of the session tell what all the others need to know.

A box, and so a diameter, must be the same for every micrograph of a session, so what is left to the data is proposed once,
from the first usable micrographs, and not for each micrograph anew.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import Ctf, Micrograph
from magellon.units import Angstrom


class SurveyItem(Record):
    """One micrograph of the sample."""

    micrograph: Micrograph
    ctf: Ctf | None = None


class SurveyInput(Record):
    items: Annotated[tuple[SurveyItem, ...], Field(min_length=1)]
    """By name."""


class SurveyOutput(Record):
    diameter: Annotated[Angstrom, Field(gt=0)]
    """Longest extent of the particle, as proposed from the data."""
    confidence: Annotated[float, Field(ge=0, le=1)]
    """At most the part of the micrographs in which particles of about this size stand out most; below 0.5 better give it."""
    picture: Path
    """How the proposal came about (`particle_survey.png`)."""


PARTICLE_SURVEY = Contract(
    "particle_survey",
    SurveyInput,
    SurveyOutput,
    sources={"micrograph": "motion_correction.micrograph", "ctf": "ctf_estimation.ctf"},
    gather=True,
    sample=8,
    Item=SurveyItem,
)
