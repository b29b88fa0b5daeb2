"""Micrograph denoising: a micrograph gives one that people and pickers see better. It is never fed to extraction."""

from pathlib import Path

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import Micrograph


class DenoisingInput(Record):
    micrograph: Micrograph


class DenoisingOutput(Record):
    denoised: Micrograph
    """`NAME_denoised.mrc`, of the micrograph's size and pixel size; a recipe may wire picking to it."""
    picture: Path
    """Before and after, side by side (`NAME_denoised.png`)."""


MICROGRAPH_DENOISING = Contract(
    "micrograph_denoising",
    DenoisingInput,
    DenoisingOutput,
    sources={"micrograph": "motion_correction.micrograph"},
    withheld_from=("ctf_estimation", "particle_extraction"),
)
"""For eyes and pickers: what it takes for noise is signal to whoever averages."""
