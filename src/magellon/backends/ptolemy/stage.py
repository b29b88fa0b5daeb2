"""Where on the stage a pixel of a picture is."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from magellon.contracts import GridImage, Params
from magellon.io.serialem_navigator import NavigatorPoint
from magellon.units import Degree

_ANGSTROM_IN_MICROMETRE = 1e-4


class StageParams(Params):
    """How the picture lies on the stage, and what navigator items say."""

    stage_rotation: Annotated[Degree, Field(ge=-360, le=360)] = 0.0
    """From the picture's +x (right) to the stage's +x, counter-clockwise as displayed with row 0 on top."""
    stage_mirror: bool = False
    """The stage's +y points down in the picture when its +x points right."""
    map_id: Annotated[int, Field(ge=0)] | None = None
    """MapID of this picture in the navigator that the targets are to be merged into."""
    threshold: Annotated[float, Field(ge=0.01, le=0.99)] = 0.5
    """Least chance of being real that a target has."""
    most: Annotated[int, Field(ge=1)] | None = None
    """So many targets at most are written for the navigator, the best."""


@dataclass(frozen=True)
class Placement:
    """From pixels to the stage, or only to the picture's lower left corner where the stage is not known."""

    image: GridImage
    height: int
    width: int
    params: StageParams

    def locate(self, x: float, y: float) -> tuple[float, float, float] | None:
        """Stage position in µm of a pixel; None when pixel size or stage position of the picture are not known."""
        if self.image.stage is None or self.image.pixel_size is None:
            return None
        scale = self.image.pixel_size * _ANGSTROM_IN_MICROMETRE
        right, up = (x - (self.width - 1) / 2) * scale, ((self.height - 1) / 2 - y) * scale
        turn = math.radians(self.params.stage_rotation)
        along = right * math.cos(turn) + up * math.sin(turn)
        across = up * math.cos(turn) - right * math.sin(turn)
        if self.params.stage_mirror:
            across = -across
        return self.image.stage[0] + along, self.image.stage[1] + across, self.image.stage_z or 0.0

    def make_point(self, rank: int, x: float, y: float, note: str) -> NavigatorPoint:
        """A navigator item; `label` is the rank, so that the best comes first."""
        return NavigatorPoint(f"{self.image.name}-{rank}", note, x + 0.5, self.height - 0.5 - y, self.locate(x, y))
