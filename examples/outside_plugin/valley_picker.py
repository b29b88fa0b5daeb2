"""A particle picker in a package of its own: particles are dark, so they are valleys of the smoothed micrograph."""

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.ndimage import gaussian_filter, maximum_filter

from magellon.contracts import PARTICLE_PICKING, Backend, Context, Params, PickingInput, PickingOutput, Picks
from magellon.io.mrc import read_mrc
from magellon.io.picture import write_png
from magellon.io.star import write_star
from magellon.units import Angstrom


class ValleyParams(Params):
    diameter: Annotated[Angstrom, Field(gt=0, le=2000)] = 180.0
    """Of the particle."""
    threshold: Annotated[float, Field(ge=0)] = 2.0
    """How deep a valley must be, in standard deviations of the smoothed micrograph."""


class ValleyPicker(Backend[PickingInput, ValleyParams, PickingOutput]):
    """Picks the darkest spots of the smoothed micrograph."""

    contract, name, Params = PARTICLE_PICKING, "valley", ValleyParams

    def run(self, input: PickingInput, params: ValleyParams, context: Context) -> PickingOutput:
        micrograph, size = input.micrograph, params.diameter / input.micrograph.pixel_size
        image = read_mrc(micrograph.path)
        depth = gaussian_filter(image, size / 2) - gaussian_filter(image, size / 4)
        depth /= depth.std()
        peaks = (depth == maximum_filter(depth, round(size))) & (depth > params.threshold)
        (y, x), star = np.nonzero(peaks), context.workdir / f"{micrograph.name}_autopick.star"
        write_star(star, {"": {"rlnCoordinateX": x, "rlnCoordinateY": y, "rlnAutopickFigureOfMerit": depth[peaks]}})
        picture = context.workdir / f"{micrograph.name}_picks.png"
        write_png(picture, np.where(maximum_filter(peaks, 9), image.max(), image), max_size=1024)
        return PickingOutput(picks=Picks(path=star, count=len(x), diameter=params.diameter), picture=picture)
