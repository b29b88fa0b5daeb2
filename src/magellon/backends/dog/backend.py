"""The reference-free picker."""

from typing import Annotated

import torch
from pydantic import Field

from magellon.algorithms.picking.blobs import CELLS_PER_DIAMETER, DogSettings, pick_field
from magellon.algorithms.picking.diameter import propose_diameter
from magellon.algorithms.picking.field import (
    check_diameter,
    check_image,
    measure_whiteness,
    reduce_micrograph,
    resize_mask,
)
from magellon.algorithms.picking.mask import mask_field
from magellon.backends.picking_files import write_picking_output
from magellon.contracts import PARTICLE_PICKING, Backend, BadInput, Context, Params, PickingInput, PickingOutput
from magellon.io.mrc import read_mrc
from magellon.units import Angstrom

LEAST_WHITENESS = 0.4
"""Of micrographs 0.8-1, of denoised ones 0.14-0.22."""
TRUSTED = 0.5
"""Confidence of a proposed diameter below which the log warns."""


class DogParams(Params):
    diameter: Annotated[Angstrom, Field(gt=0)] | None = None
    """Longest extent of the particle; left out, it is proposed from the data."""
    threshold: float | None = None
    """Least score, in standard deviations of the noise; left out, it is set from the micrograph."""
    separation: Annotated[float, Field(ge=0.1, le=2)] = 0.5
    """Least distance of two picks, in diameters."""
    border: Annotated[float, Field(ge=0, le=2)] = 0.5
    """Least distance of a pick from the image's edge, in diameters."""
    avoid_contamination: bool = True
    """Leave out contamination, carbon and broken ice."""
    margin: Annotated[float, Field(ge=0, le=2)] = 0.5
    """Distance kept from what is left out, in diameters."""


class DogPicker(Backend[PickingInput, DogParams, PickingOutput]):
    """Difference of Gaussians, refined by the mean of what it finds; no reference, no training."""

    contract, name, version, Params = PARTICLE_PICKING, "dog", 4, DogParams
    ignores = ("network",)

    def run(self, input: PickingInput, params: DogParams, context: Context) -> PickingOutput:
        micrograph = input.micrograph
        image = torch.from_numpy(read_mrc(micrograph.path)).to(context.device)
        settings = DogSettings(params.threshold, params.separation, params.border)
        context.progress(0.1, "picking")
        try:
            check_image(image, micrograph.pixel_size)
            diameter = params.diameter or input.diameter or self._propose(image, micrograph.pixel_size, context)
            check_diameter(diameter, (image.shape[0], image.shape[1]), micrograph.pixel_size)
        except BadInput as error:
            raise BadInput(f"{micrograph.path}: {error}") from error
        if measure_whiteness(image) < LEAST_WHITENESS:
            context.log.warning(
                "this micrograph is denoised or low-passed: dog counts on white noise, and may miss most; use cnn"
            )
        field = reduce_micrograph(image, micrograph.pixel_size, diameter / CELLS_PER_DIAMETER)
        usable = torch.ones(field.shape, dtype=torch.bool, device=image.device)
        if params.avoid_contamination:
            usable = resize_mask(mask_field(field, diameter, params.margin), field)
        peaks = pick_field(field, diameter, settings, usable)
        context.progress(0.8, f"{len(peaks)} picks")
        return write_picking_output(context.workdir, micrograph, image, diameter, peaks, usable)

    def _propose(self, image: torch.Tensor, pixel_size: float, context: Context) -> float:
        proposal = propose_diameter(image, pixel_size)
        said = f"diameter {proposal.diameter:.0f} Å proposed from {proposal.picks} particles"
        if proposal.confidence < TRUSTED:
            context.log.warning("%s, confidence only %.2f: better give it", said, proposal.confidence)
        else:
            context.log.info("%s, confidence %.2f", said, proposal.confidence)
        return round(proposal.diameter, 1)
