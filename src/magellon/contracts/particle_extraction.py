"""Particle extraction: coordinates become a stack of normalised boxes."""

from pathlib import Path

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import Ctf, Micrograph, Particles, Picks


class ExtractionInput(Record):
    micrograph: Micrograph
    picks: Picks
    ctf: Ctf | None = None


class ExtractionOutput(Record):
    particles: Particles
    left_out_at_edge: int
    padded_at_edge: int
    duplicates_removed: int
    picture: Path | None
    """The first boxes as a gallery (`NAME_particles.png`)."""


PARTICLE_EXTRACTION = Contract(
    "particle_extraction",
    ExtractionInput,
    ExtractionOutput,
    sources={
        "micrograph": "motion_correction.micrograph",
        "picks": "particle_picking.picks",
        "ctf": "ctf_estimation.ctf",
    },
)
