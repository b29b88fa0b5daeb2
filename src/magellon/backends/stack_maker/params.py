"""The parameters of `stack-maker`."""

from typing import Annotated, Literal

from pydantic import Field

from magellon.contracts import Params
from magellon.units import Angstrom, Pixel

EvenSize = Annotated[Pixel, Field(ge=8, le=8192, multiple_of=2)]


class StackMakerParams(Params):
    box_size: EvenSize | None = None
    """Side of the box cut from the micrograph; left out, 1.5 times the diameter, rounded up to 64, 80, 96, 128, 160 ..."""
    rescaled_size: EvenSize | None = None
    """Side to which boxes are rescaled by Fourier cropping; left out, they keep the micrograph's pixel size."""
    background_diameter: Annotated[Angstrom, Field(gt=0)] | None = None
    """Pixels outside this circle are the background of the normalisation; left out, three quarters of the box."""
    minimum_distance: Annotated[Angstrom, Field(ge=0)] | None = None
    """Of two picks closer than this only the better one is extracted; left out, a quarter of the diameter. 0: all are."""
    edge: Literal["pad", "leave_out"] = "pad"
    """Boxes that reach beyond the micrograph: repeat its edge pixels, or leave the particle out."""
    normalise: bool = True
    """Background to mean 0 and standard deviation 1."""
    subtract_plane: bool = True
    """Before normalising, subtract the plane fitted to the background."""
    invert: bool = True
    """Make particles bright, as RELION and cryoSPARC expect."""
    white_dust: Annotated[float, Field(ge=0)] = 0.0
    """Replace pixels this many standard deviations above the background by noise; 0: none."""
    black_dust: Annotated[float, Field(ge=0)] = 0.0
    """The same for pixels below the background."""
    mode: Literal["float32", "float16"] = "float32"
    """Type of the pixels in the stack. RELION reads float16 from version 4 on."""
