"""What to simulate: ranges from which every movie of a session draws its own values."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from magellon.units import Angstrom, AngstromPerPixel, Exposure, Kilovolt, Millimetre, Pixel

Range = tuple[float, float]
"""Lowest and highest value; equal: that value."""


@dataclass(frozen=True)
class OpticsRanges:
    """The microscope, drawn for each movie except where it says session."""

    defocus: Range = (8000.0, 25000.0)
    """Mean of U and V, Å."""
    astigmatism: Range = (0.0, 600.0)
    """U - V, Å."""
    phase_shift: Range = (0.0, 0.0)
    """Degrees."""
    envelope_b: Range = (30.0, 80.0)
    """Å²: coherence, vibration; amplitudes fall as exp(-B k² / 4)."""
    beam_tilt: Range = (0.0, 0.1)
    """mrad, of the session."""
    magnification_anisotropy: Range = (0.0, 0.0)
    """Longest less shortest over their mean, of the session; real ones reach 0.01."""
    pixel_size_error: Range = (0.0, 0.0)
    """True over nominal pixel size less 1, of the session; real ones reach 0.02."""


@dataclass(frozen=True)
class SpecimenRanges:
    """The ice and what is in it, drawn for each movie."""

    ice_thickness: Range = (250.0, 600.0)
    """Å."""
    ice_roughness: Range = (0.01, 0.05)
    """Relative standard deviation of the thickness over the field."""
    particles: Range = (100.0, 130.0)
    """In a field of 2048 x 2048 pixels of 1.2 Å; other fields by their area."""
    crowding: Range = (0.62, 0.8)
    """Smallest distance between particles, in diameters."""
    height: Range = (100.0, 300.0)
    """Particles lie up to this far above and below the mean defocus, Å."""
    preferred_views: Range = (0.0, 0.4)
    """Fraction of particles near one of a few views; the others are uniform."""
    broken: Range = (0.0, 0.04)
    """Fraction of particles that lost a part."""
    denatured: Range = (0.0, 0.04)
    """Fraction of particles unfolded at the air-water interface."""
    foreign: Range = (0.0, 0.02)
    """Fraction of particles that are another protein."""
    contamination: Range = (0.0, 2.0)
    """Ice crystals and other contamination, number in a field."""
    carbon: float = 0.15
    """Probability of a carbon edge in the field."""
    beam_edge: float = 0.05
    """Probability that the beam's edge is in the field."""


@dataclass(frozen=True)
class MotionRanges:
    """Beam-induced motion and drift, drawn for each movie. The defaults are those of real 24-frame movies."""

    net: Range = (8.0, 21.0)
    """Distance between the first and the last frame, Å."""
    early_excess: Range = (0.6, 3.0)
    """How much faster the first frames move than the last, relative."""
    settling: Range = (4.0, 12.0)
    """Exposure over which that wears off, e/Å²."""
    jitter: Range = (0.10, 0.17)
    """Random displacement of a frame, Å in each direction."""
    local: Range = (3.5, 10.0)
    """Largest local displacement in the field at the end, Å."""


@dataclass(frozen=True)
class DetectorRanges:
    """The camera, drawn for the session."""

    gain: Range = (0.01, 0.05)
    """Relative standard deviation of the pixels' response."""
    gain_error: Range = (0.001, 0.004)
    """Relative error of the gain reference."""
    dose_rate: Range = (4.0, 9.0)
    """Electrons per pixel and second: sets the coincidence loss."""
    dead_pixels: Range = (5.0, 30.0)
    """In a field of 2048 x 2048."""
    hot_pixels: Range = (5.0, 30.0)
    """In a field of 2048 x 2048."""


@dataclass(frozen=True)
class SessionSpec:
    """A whole session. Same values, same bytes."""

    movies: int = 10
    """Number of movies."""
    size: Pixel = 2048
    """Height of a frame, and its width unless that is given."""
    width: Pixel | None = None
    """Width of a frame; None: its height."""
    frames: int = 24
    """Frames in a movie (EER: groups of raw frames)."""
    pixel_size: AngstromPerPixel = 1.2
    """Nominal pixel size."""
    seed: int = 1
    """Of all random numbers: the same seed gives the same bytes."""
    format: Literal["tiff", "mrc", "eer"] = "tiff"
    """Of the movies: TIFF (LZW, uint8), MRC or EER."""
    mrc_mode: Literal["int8", "float16"] = "int8"
    """Type of the pixels of MRC movies."""
    resolution: Angstrom = 3.0
    """Finest detail of the specimen that is rendered; noise reaches to Nyquist."""
    eer_raw_frames: int | None = None
    """EER only: raw frames in the file for each of `frames`, which are those that move; None: so that each pixel of a raw frame
    receives at most a tenth of an electron."""
    detector: str = "k3"
    """k2, k3, falcon4 (counting) or falcon (integrating: strongly correlated noise, output in scaled units)."""
    phantom: str = "asymmetric"
    """asymmetric, monomer, rod, channel, tetramer, barrel, shell or capsid; several, separated by commas, are mixed."""
    pdb: Path | None = None
    """A PDB or mmCIF file (may be gzipped) instead of a phantom; its first biological assembly."""
    voltage: Kilovolt = 300.0
    """Acceleration voltage."""
    spherical_aberration: Millimetre = 2.7
    """Spherical aberration of the objective lens."""
    amplitude_contrast: float = 0.1
    """Fraction of amplitude contrast."""
    exposure_per_frame: Exposure = 1.04
    """On the specimen, for each of `frames`."""
    pre_exposure: Exposure = 0.0
    """On the specimen, before the first frame."""
    name: str = "sim"
    """Of the session, and the beginning of its movies' names."""
    gain_rotation: int = 0
    """0, 90, 180 or 270: how the gain file must be turned to lie as the movies do, before the flip."""
    gain_flip: Literal["none", "x", "y"] = "none"
    """Mirror the rotated gain file left-right (x) or top-bottom (y) to make it lie as the movies do."""
    truth_images: bool = False
    """Also write truth/NAME_exposure.mrc (noise-free, unmoved, undamaged) and truth/NAME_particles.mrc (without ice)."""
    optics: OpticsRanges = field(default_factory=OpticsRanges)
    """Ranges of the microscope's values."""
    specimen: SpecimenRanges = field(default_factory=SpecimenRanges)
    """Ranges of the ice's and the particles' values."""
    motion: MotionRanges = field(default_factory=MotionRanges)
    """Ranges of the motion's values."""
    camera: DetectorRanges = field(default_factory=DetectorRanges)
    """Ranges of the camera's values."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of a frame."""
        return self.size, self.size if self.width is None else self.width

    @property
    def stored_per_frame(self) -> int:
        """Frames in the file for each of `frames`: more than one only in EER movies."""
        if self.format != "eer":
            return 1
        return self.eer_raw_frames or math.ceil(self.exposure_per_frame * self.pixel_size**2 / 0.1)
