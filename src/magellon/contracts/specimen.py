"""The things the steps hand to each other: optics, movies, micrographs, CTFs, picks, particles.

Units and signs are those of `docs/explanations/conventions.md`.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from magellon.contracts.record import Record
from magellon.units import Angstrom, AngstromPerPixel, Degree, Exposure, Kilovolt, Millimetre, Pixel

PositivePixelSize = Annotated[AngstromPerPixel, Field(gt=0.01, lt=1000)]


class Optics(Record):
    """The microscope as the CTF sees it."""

    voltage: Annotated[Kilovolt, Field(ge=10, le=1500)] = 300.0
    spherical_aberration: Annotated[Millimetre, Field(ge=0, le=20)] = 2.7
    amplitude_contrast: Annotated[float, Field(ge=0, lt=1)] = 0.1
    group: str = "opticsGroup1"
    """Name of the optics group: one per beam-shift cluster, pixel size, detector and session, whose name it carries."""


class GainOrientation(Record):
    """How a gain reference has to be laid down to lie as the movies do; rotation is applied before the flip."""

    rotation: Literal[0, 90, 180, 270] = 0
    flip: Literal["none", "x", "y"] = "none"


class Gain(Record):
    """A gain reference and how it lies relative to the movie; rotation is applied before the flip."""

    path: Path
    rotation: Literal[0, 90, 180, 270] = 0
    """Degrees counter-clockwise as displayed with row 0 on top (`numpy.rot90`)."""
    flip: Literal["none", "x", "y"] = "none"
    """Mirror left-right ("x": columns reversed) or top-bottom ("y": rows reversed)."""

    @property
    def turned_name(self) -> str | None:
        """File name, in the session folder, of the reference as RELION needs it; None when it can use the file as it is.

        It cannot when the reference has to be turned, or is of a format that it does not read. Names of gain references hold
        times with dots (SerialEM), and one stem may come in two formats: the whole file name stays.
        """
        if self.rotation == 0 and self.flip == "none" and self.path.suffix.lower() in {".mrc", ".tif", ".tiff", ".gain"}:
            return None
        return f"{self.path.name}_rot{self.rotation}_flip_{self.flip}.mrc"


class Movie(Record):
    """One raw movie of a session. Frames are those stored in the file."""

    name: str
    """Unique in the session; the file name without its suffix, unless two files share it."""
    path: Path
    pixel_size: PositivePixelSize
    optics: Optics = Optics()
    exposure_per_frame: Annotated[Exposure, Field(gt=0, le=100)] | None = None
    """Per frame as stored (an EER's raw frame). None: unknown, so no dose weighting; never 0."""
    pre_exposure: Annotated[Exposure, Field(ge=0, le=1000)] = 0.0
    gain: Gain | None = None
    defects: Path | None = None


class Micrograph(Record):
    """One image of summed frames, float32 MRC."""

    name: str
    path: Path
    pixel_size: PositivePixelSize
    shape: tuple[Pixel, Pixel]
    """(height, width)."""
    optics: Optics = Optics()


class GridImage(Record):
    """A picture of the grid: an atlas, a montage of one, or a square. MRC, TIFF, JPEG or PNG; row 0 is the first row."""

    name: str
    path: Path
    pixel_size: Annotated[AngstromPerPixel, Field(gt=0.01, lt=1e6)] | None = None
    """Of this file; None: unknown, so that nothing is known in Å."""
    stage: tuple[float, float] | None = None
    """(x, y) of the stage at the picture's centre, µm."""
    stage_z: float | None = None
    """µm."""


class Ctf(Record):
    """A fitted contrast transfer function."""

    defocus_u: Angstrom
    defocus_v: Angstrom
    """Positive = underfocus, U >= V."""
    defocus_angle: Annotated[Degree, Field(ge=-180, le=180)]
    """Of U: from +x toward +y, modulo 180."""
    phase_shift: Degree = 0.0
    score: float
    """Correlation of the fitted CTF with the background-free spectrum, 0..1."""
    resolution: Angstrom
    """To which the fitted rings agree with the measured ones."""

    @property
    def mean_defocus(self) -> float:
        return (self.defocus_u + self.defocus_v) / 2

    @property
    def astigmatism(self) -> float:
        return self.defocus_u - self.defocus_v


class Picks(Record):
    """Particle coordinates on one micrograph, in a RELION autopick STAR file."""

    path: Path
    count: Annotated[int, Field(ge=0)]
    diameter: Annotated[Angstrom, Field(gt=0)]
    """Of the particle, as given or as proposed from the data."""


class Particles(Record):
    """Extracted boxes: those of one micrograph in a stack beside the STAR file that describes it, or all that a STAR file has.

    Names inside the STAR file are relative to its folder (`000001@NAME.mrcs`, `NAME.mrc`), or to a RELION project above it.
    """

    star: Path
    stack: Path | None
    """None when the micrograph gave no particle, or when the STAR file names several stacks."""
    count: Annotated[int, Field(ge=0)]
    box: Pixel
    pixel_size: PositivePixelSize
