"""Picking with the network: one view, the mean of four passes, likeness to the others, calibrated picks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.picking.blobs import inside_border
from magellon.algorithms.picking.centring import measure_doubt, recentre
from magellon.algorithms.picking.decoding import Calibration, Found, find_candidates, find_dirt
from magellon.algorithms.picking.likeness import Likeness, measure_likeness
from magellon.algorithms.picking.network import MULTIPLE, STRIDE
from magellon.algorithms.picking.peaks import Peaks
from magellon.algorithms.picking.turning import ROTATIONS, turn, turn_output_back
from magellon.algorithms.picking.view import CELLS_PER_DIAMETER, View, make_view
from magellon.errors import BadInput

MOST_CELLS = 12_000_000
"""Of a view; a diameter that asks for more is wrong for the image, and the network would take gigabytes."""

LEAST_PIXELS = 10
"""Across a particle: of fewer the network sees the blur between pixels, and takes noise for particles."""

Run = Callable[[Tensor], Tensor]
"""(n, 2, height, width) to (n, 4, height / 2, width / 2), as `PickerNet`; sides are multiples of `MULTIPLE`."""


@dataclass(frozen=True)
class NetworkSettings:
    """How to pick with a network.

    Attributes:
        threshold: least probability of a pick.
        separation: least distance of two picks, in diameters.
        border: least distance of a centre from the image's edge, in diameters.
        margin: distance kept from dirt, in diameters; None: dirt is not looked for.
    """

    threshold: float = 0.5
    separation: float = 0.5
    border: float = 0.5
    margin: float | None = 0.25


@dataclass(frozen=True)
class PickingNetwork:
    """A network and the calibration of its scores."""

    run: Run
    calibration: Calibration

    @classmethod
    def from_metadata(cls, run: Run, metadata: Mapping[str, str]) -> "PickingNetwork":
        """With the calibration that the file holds.

        Raises:
            BadInput: it holds none: this is no picker's network.
        """
        return cls(run, Calibration.from_metadata(metadata))

    def score(self, view: View, usable: Tensor, found: Found) -> Tensor:
        """(n,) float64 probabilities of candidates: what the network says of each, and how much it is like the others.

        Args:
            usable: (h, w) bool, where candidates were looked for.
        """
        return score_found(self.calibration, view, usable, found)[0]


def score_found(calibration: Calibration, view: View, usable: Tensor, found: Found) -> tuple[Tensor, Likeness | None]:
    """`PickingNetwork.score`, where there is no network at hand; and the likeness, where it is asked for."""
    alone = calibration.apply(found.logits)
    if not calibration.likeness:
        return alone, None
    likeness = measure_likeness(view.channels[0], usable, found.positions, alone)
    return calibration.refine(found.logits, likeness), likeness


def check_view(shape: tuple[int, int], pixel_size: float, diameter: float) -> None:
    """Refuse a diameter of too few pixels, or so small that the image would hold thousands of particles side by side.

    Raises:
        BadInput: fewer than `LEAST_PIXELS` pixels, or the view would have more than `MOST_CELLS` cells.
    """
    if diameter < LEAST_PIXELS * pixel_size:
        said = f"diameter {diameter:g} Å is {diameter / pixel_size:.3g} pixels of {pixel_size:g} Å"
        raise BadInput(f"{said}: the network needs {LEAST_PIXELS} at least; check both, or pick with the backend dog")
    cells = math.prod(side * pixel_size / diameter * CELLS_PER_DIAMETER for side in shape)
    if cells > MOST_CELLS:
        least = diameter * math.sqrt(cells / MOST_CELLS)
        raise BadInput(f"diameter {diameter:g} Å: too small for an image of {shape}: must be at least {least:.4g} Å")


def pick_with_network(
    image: Tensor, pixel_size: float, diameter: float, network: PickingNetwork, settings: NetworkSettings
) -> tuple[Peaks, Tensor]:
    """Find particles; their scores are probabilities.

    Args:
        image: (height, width), checked.
        pixel_size: Å/px.
        diameter: of the particle, Å.

    Returns:
        Picks, the best first, and (h, w) bool where they were looked for.
    """
    view = make_view(image, pixel_size, diameter)
    output = apply_network(network.run, view)
    shape = (output.shape[-2], output.shape[-1])
    usable = torch.ones(shape, dtype=torch.bool, device=output.device)
    if settings.margin is not None:
        usable = ~find_dirt(output, settings.margin)
    per_diameter = CELLS_PER_DIAMETER / STRIDE
    inside = inside_border(shape, settings.border * per_diameter, output.device)
    found = find_candidates(output, settings.separation, usable & inside)
    scores, likeness = score_found(network.calibration, view, usable, found)
    scores, order = torch.sort(scores, descending=True, stable=True)
    chosen = order[scores >= settings.threshold]
    scores, positions = scores[: len(chosen)], found.positions[chosen]
    if likeness is not None and likeness.answer is not None:
        positions = recentre(likeness.answer, positions, measure_doubt(output, positions), settings.separation)
    return Peaks(view.to_micrograph(positions), scores), usable


def apply_network(run: Run, view: View, positions: Sequence[int] = ROTATIONS) -> Tensor:
    """The network's output (4, height / 2, width / 2) for a view, extended by reflection where sides do not fit.

    Args:
        positions: in which the network is shown the view; the mean of its answers is taken, which errs less than any of them.
    """
    height, width = view.channels.shape[-2:]
    pad = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
    padded = torch.nn.functional.pad(view.channels[None], pad, mode="reflect")
    answers = [turn_output_back(run(turn(padded, each).contiguous()), each) for each in positions]
    mean = torch.stack(answers).mean(dim=0)
    return mean[0, :, : height // STRIDE, : width // STRIDE]
