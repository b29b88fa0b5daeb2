"""The network's picker."""

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from magellon.algorithms.picking.diameter import propose_diameter
from magellon.algorithms.picking.field import check_diameter, check_image
from magellon.algorithms.picking.network_picks import NetworkSettings, PickingNetwork, check_view, pick_with_network
from magellon.backends.picking_files import write_picking_output
from magellon.contracts import PARTICLE_PICKING, Backend, BadInput, Context, Params, PickingInput, PickingOutput
from magellon.io.mrc import read_mrc
from magellon.io.network import open_network
from magellon.units import Angstrom

SHIPPED = Path(__file__).with_name("picker.onnx")
"""What `python -m training.picker` makes."""
TRUSTED = 0.5
"""Confidence of a proposed diameter below which the log warns."""


class CnnParams(Params):
    diameter: Annotated[Angstrom, Field(gt=0)] | None = None
    """Longest extent of the particle; left out, it is proposed from the data."""
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Least probability that a pick is a particle."""
    separation: Annotated[float, Field(ge=0.1, le=2)] = 0.5
    """Least distance of two picks, in diameters."""
    border: Annotated[float, Field(ge=0, le=2)] = 0.5
    """Least distance of a pick from the image's edge, in diameters."""
    avoid_contamination: bool = True
    """Leave out what the network sees as contamination, carbon, aggregates or outside the beam."""
    margin: Annotated[float, Field(ge=0, le=2)] = 0.25
    """Distance kept from what is left out, in diameters."""
    network: Path | None = None
    """ONNX file of a network to use instead of Magellon's own, as `magellon train picker` writes."""


class CnnPicker(Backend[PickingInput, CnnParams, PickingOutput]):
    """A small convolutional network, trained on simulations and, where wanted, on the session; scores are probabilities."""

    contract, name, Params = PARTICLE_PICKING, "cnn", CnnParams
    version = 9

    def __init__(self) -> None:
        self._opened: tuple[tuple[Path, int, str, int], PickingNetwork] | None = None

    def run(self, input: PickingInput, params: CnnParams, context: Context) -> PickingOutput:
        micrograph = input.micrograph
        network = self._open(params.network or input.network or SHIPPED, context)
        image = torch.from_numpy(read_mrc(micrograph.path)).to(context.device)
        context.progress(0.1, "picking")
        try:
            check_image(image, micrograph.pixel_size)
            shape = (image.shape[0], image.shape[1])
            diameter = params.diameter or input.diameter or _propose(image, micrograph.pixel_size, context)
            check_diameter(diameter, shape, micrograph.pixel_size)
            check_view(shape, micrograph.pixel_size, diameter)
        except BadInput as error:
            raise BadInput(f"{micrograph.path}: {error}") from error
        margin = params.margin if params.avoid_contamination else None
        settings = NetworkSettings(params.threshold, params.separation, params.border, margin)
        peaks, usable = pick_with_network(image, micrograph.pixel_size, diameter, network, settings)
        context.progress(0.8, f"{len(peaks)} picks")
        return write_picking_output(context.workdir, micrograph, image, diameter, peaks, usable)

    def _open(self, path: Path, context: Context) -> PickingNetwork:
        """A network stays open for the next micrograph, unless another file took its name."""
        changed = path.stat().st_mtime_ns if path.is_file() else 0
        key = (path, changed, context.device, context.threads)
        if self._opened is None or self._opened[0] != key:
            self._opened = (key, open_picking_network(path, context))
        return self._opened[1]


def open_picking_network(path: Path, context: Context) -> PickingNetwork:
    """Read a network of the picker.

    Raises:
        BadInput: missing, no network, or not a picker's.
    """
    network = open_network(path, context.threads, context.device)

    def run(view: torch.Tensor) -> torch.Tensor:
        output = torch.from_numpy(network(view.cpu().numpy())[0]).to(view.device)
        if output.ndim != 4 or output.shape[1] != 4:
            raise BadInput(f"{path}: gives {tuple(output.shape)}: not the network of a picker")
        return output

    try:
        return PickingNetwork.from_metadata(run, network.metadata)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def _propose(image: torch.Tensor, pixel_size: float, context: Context) -> float:
    proposal = propose_diameter(image, pixel_size)
    said = f"diameter {proposal.diameter:.0f} Å proposed from {proposal.picks} particles"
    if proposal.confidence < TRUSTED:
        context.log.warning("%s, confidence only %.2f: better give it", said, proposal.confidence)
    else:
        context.log.info("%s, confidence %.2f", said, proposal.confidence)
    return round(proposal.diameter, 1)
