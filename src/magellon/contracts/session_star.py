"""Session files: the results of all items gathered into what RELION and people open.

A gather lists its inputs explicitly, sorted by name.
"""

from pathlib import Path

from pydantic import Field

from magellon.contracts.backend import Contract
from magellon.contracts.ctf_estimation import CtfOutput
from magellon.contracts.motion_correction import MotionOutput
from magellon.contracts.particle_extraction import ExtractionOutput
from magellon.contracts.particle_picking import PickingOutput
from magellon.contracts.record import Record
from magellon.contracts.specimen import Micrograph, Movie
from magellon.contracts.two_d_classification import ClassificationOutput


class SessionItem(Record):
    """All that is known of one movie; None where a step failed, was held back or is not in the recipe."""

    name: str
    movie: Movie | None = None
    micrograph: Micrograph | None = None
    """The micrograph itself where its motion correction is not among these results (made elsewhere, or in another run)."""
    motion_correction: MotionOutput | None = None
    ctf_estimation: CtfOutput | None = None
    particle_picking: PickingOutput | None = None
    particle_extraction: ExtractionOutput | None = None
    held: tuple[str, ...] = ()
    """Why the filter holds this micrograph back; empty when it does not."""


class SessionStarInput(Record):
    items: tuple[SessionItem, ...]
    two_d_classification: ClassificationOutput | None = None
    """Of the session's particles; None as long as it is not made, and where the recipe has none."""
    folders: dict[str, str] = Field(default_factory=dict)
    """Category > folder of the session in which its files appear ("" for the session folder itself)."""


class SessionStarOutput(Record):
    """Names inside these files are relative to the session folder: `motion_correction/NAME.mrc`."""

    corrected_micrographs: Path | None
    micrographs_ctf: Path | None
    particles: Path | None
    autopick: Path | None = None
    """`autopick.star`: the coordinate file of each micrograph, as RELION 4 and later list them."""
    summary: Path
    """`summary.json`: counts and statistics for people and scripts."""
    gains: tuple[Path, ...] = ()
    """Gain references turned as the movies lie, for RELION's polishing; only when they were stored otherwise."""


SESSION_STAR = Contract("session_star", SessionStarInput, SessionStarOutput, gather=True)
