"""Previews: a micrograph as tiles, so that a person can look at all its pixels without fetching all of them."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import Micrograph
from magellon.units import Pixel


class PreviewInput(Record):
    micrograph: Micrograph


class PreviewOutput(Record):
    """Level `levels - 1` is the whole micrograph; each level below has half the pixels a side, down to one tile."""

    tiles: Path
    """Folder of `LEVEL/X_Y.jpg`, x to the right and y down, from 0."""
    width: Pixel
    height: Pixel
    tile_size: Pixel
    """Tiles at the right and lower edge are smaller."""
    levels: Annotated[int, Field(ge=1)]
    percentiles: tuple[float, float]
    """Of each level, shown as black and white."""


PREVIEW = Contract(
    "preview", PreviewInput, PreviewOutput, sources={"micrograph": "motion_correction.micrograph"}, on_demand=True
)
"""Made when somebody looks, not by a recipe."""
