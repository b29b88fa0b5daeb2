"""The reference-free picker."""

from typing import Annotated

import torch
from pydantic import Field

from magellon.algorithms.picking.blobs import DogSettings, pick_dog
from magellon.backends.picking_files import write_autopick_star, write_picks_picture
from magellon.contracts import PARTICLE_PICKING, Backend, BadInput, Context, Params, PickingInput, PickingOutput, Picks
from magellon.io.mrc import read_mrc
from magellon.units import Angstrom


class DogParams(Params):
    diameter: Annotated[Angstrom, Field(gt=0)] | None = None
    """Longest extent of the particle; left out, it is proposed from the micrograph."""
    threshold: float | None = None
    """Least score, in standard deviations of the noise; left out, it is set from the micrograph."""
    separation: Annotated[float, Field(ge=0.1, le=2)] = 0.5
    """Least distance of two picks, in diameters."""
    border: Annotated[float, Field(ge=0, le=2)] = 0.5
    """Least distance of a pick from the image's edge, in diameters."""


class DogPicker(Backend[PickingInput, DogParams, PickingOutput]):
    """Difference of Gaussians, refined by the mean of what it finds; no reference, no training."""

    contract, name, Params = PARTICLE_PICKING, "dog", DogParams

    def run(self, input: PickingInput, params: DogParams, context: Context) -> PickingOutput:
        micrograph = input.micrograph
        image = torch.from_numpy(read_mrc(micrograph.path)).to(context.device)
        context.progress(0.2, "picking")
        settings = DogSettings(params.threshold, params.separation, params.border)
        diameter = params.diameter or 190.0
        try:
            peaks = pick_dog(image, micrograph.pixel_size, diameter, settings)
        except BadInput as error:
            raise BadInput(f"{micrograph.path}: {error}") from error
        usable = torch.ones(16, 16, dtype=torch.bool)
        context.progress(0.8, f"{len(peaks)} picks")
        star, picture = (context.workdir / f"{micrograph.name}_{end}" for end in ("autopick.star", "picks.png"))
        write_autopick_star(star, peaks)
        write_picks_picture(picture, image, diameter / micrograph.pixel_size, peaks, usable)
        return PickingOutput(picks=Picks(path=star, count=len(peaks), diameter=diameter), picture=picture)
