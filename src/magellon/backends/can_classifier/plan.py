"""What the sizes of box and particle mean for the computation."""

from dataclasses import dataclass

import torch

from magellon.algorithms.classification.disc import Disc, make_disc
from magellon.algorithms.classification.preparation import Box
from magellon.algorithms.classification.rounds import Geometry
from magellon.backends.can_classifier.params import CanClassifierParams
from magellon.backends.can_classifier.tables import ParticleTable
from magellon.contracts import BadInput, Context

_BOX_PART = 2 / 3
"""Diameter of a particle of which nothing is known, in boxes."""
_MASK = 1.1
"""Diameter of the mask in those of the particle."""
_DETAILS = 24
"""Finest details looked at, as a part of the diameter."""
_FINEST = 6.0
"""Å; finer details do not help to tell views apart."""
_SMALLEST = 8
"""Pixels across a particle; fewer show no view of it."""


@dataclass(frozen=True)
class Plan:
    """What the sizes of box and particle mean for the computation."""

    geometry: Geometry
    diameter: float

    @property
    def box(self) -> Box:
        return self.geometry.box

    @property
    def disc(self) -> Disc:
        return self.geometry.disc


def make_plan(table: ParticleTable, size: int, params: CanClassifierParams, known: float | None, context: Context) -> Plan:
    """Sizes and limits of the computation.

    Raises:
        BadInput: the particle does not fit into its box or is too small to be seen, or may lie outside of its box.
    """
    pixel_size = table.groups[0].pixel_size
    extent = size * pixel_size
    diameter = params.diameter or known or _BOX_PART * extent
    if diameter > extent:
        raise BadInput(f"{table.stacks[0]}: a diameter of {diameter:g} Å does not fit into boxes of {size} px ({extent:g} Å)")
    if diameter < _SMALLEST * pixel_size:
        raise BadInput(
            f"{table.stacks[0]}: a diameter of {diameter:g} Å is {diameter / pixel_size:.2g} pixels of {pixel_size:g} Å; "
            f"at least {_SMALLEST} are needed"
        )
    if params.max_shift is not None and params.max_shift > extent / 2:
        raise BadInput(
            f"max_shift = {params.max_shift:g} Å: half of a box of {size} px is {extent / 2:g} Å, and no more is looked at"
        )
    edge = Box(size, pixel_size, 1.0).edge
    radius = max(min(_MASK * diameter / 2 / pixel_size, size / 2 - edge), size / 8)
    box = Box(size, pixel_size, radius)
    finest = params.resolution or max(diameter / _DETAILS, _FINEST)
    shells = max(4, min(int(extent / finest), size // 2 - 1))
    part = diameter / extent
    reach = (params.max_shift or diameter / 8) / extent
    disc, devices = make_disc(shells).to(context.device), find_devices(context.device)
    geometry = Geometry(box, disc, part, reach, reach / 2, context.threads, devices)
    context.log.info(
        "%d particles of %d px, diameter %.0f Å, details down to %.1f Å", len(table), size, diameter, extent / shells
    )
    return Plan(geometry, diameter)


def find_devices(device: str) -> tuple[str, ...]:
    """Every GPU where no single one is asked for; none where one device does all."""
    count = torch.cuda.device_count() if device == "cuda" else 0
    return tuple(f"cuda:{number}" for number in range(count)) if count > 1 else ()
