"""Picker training: a session's own picks teach the network that picked them, and it picks again."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import Micrograph, Picks


class PickerTrainingItem(Record):
    """One micrograph and what was picked on it."""

    micrograph: Micrograph
    picks: Picks
    """All picks, or those a person corrected."""


class PickerTrainingInput(Record):
    items: Annotated[tuple[PickerTrainingItem, ...], Field(min_length=1)]
    """By name."""
    kept: Path | None = None
    """`particles.star` of the particles that survived 2D classification: picks near one of them are particles, the others are
    doubted. None: every pick is a particle and what was not picked is none, as where a person corrected the picks."""
    start: Path | None = None
    """The network to go on from; None: the one that Magellon ships."""


class PickerTrainingOutput(Record):
    network: Path
    """ONNX (`picker.onnx`): the trained network, or the one it started from where training made it no better."""
    improved: bool
    """Whether the trained network is the better one on micrographs it was not trained on."""
    before: Annotated[float, Field(ge=0, le=1)]
    """Average precision on those micrographs, of the network at the start; 0 where too little was kept to judge it."""
    after: Annotated[float, Field(ge=0, le=1)]
    """Of the trained one."""
    report: Path
    """`picker_training_report.json`: precision, recall, F1 and average precision before and after, and on which micrographs."""
    picture: Path
    """Precision against recall before and after (`picker_training.png`)."""


PICKER_TRAINING = Contract(
    "picker_training",
    PickerTrainingInput,
    PickerTrainingOutput,
    sources={
        "micrograph": "motion_correction.micrograph",
        "picks": "particle_picking.picks",
        "kept": "two_d_classification.particles",
    },
    gather=True,
    Item=PickerTrainingItem,
)
