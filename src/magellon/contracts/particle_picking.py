"""Particle picking: a micrograph gives coordinates with scores."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import Ctf, Micrograph, Picks
from magellon.units import Angstrom


class PickingInput(Record):
    micrograph: Micrograph
    ctf: Ctf | None = None
    diameter: Annotated[Angstrom, Field(gt=0)] | None = None
    """As surveyed for the whole session; a diameter among the parameters overrules it."""
    network: Path | None = None
    """Trained on this session, for pickers that have one; a network among the parameters overrules it."""


class PickingOutput(Record):
    picks: Picks
    """`NAME_autopick.star`: rlnCoordinateX/Y in pixels of the micrograph, rlnAutopickFigureOfMerit."""
    picture: Path
    """The micrograph with the picks drawn over it (`NAME_picks.png`)."""
    masked_fraction: float = 0.0
    """Part of the area left out as contamination, carbon or edge, 0..1."""


PARTICLE_PICKING = Contract(
    "particle_picking",
    PickingInput,
    PickingOutput,
    sources={
        "micrograph": "motion_correction.micrograph",
        "ctf": "ctf_estimation.ctf",
        "diameter": "particle_survey.diameter",
        "network": "picker_training.network",
    },
)
