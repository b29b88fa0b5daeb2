"""What goes into a CTF fit and what comes out."""

import math
from dataclasses import dataclass

from torch import Tensor

from magellon.algorithms.optics import CtfModel, electron_wavelength
from magellon.errors import BadInput
from magellon.units import Angstrom, Degree, Kilovolt, Millimetre


@dataclass(frozen=True)
class Microscope:
    """What is known before the fit."""

    voltage: Kilovolt = 300.0
    spherical_aberration: Millimetre = 2.7
    amplitude_contrast: float = 0.1

    @property
    def wavelength(self) -> Angstrom:
        return electron_wavelength(self.voltage)

    def model(self, defocus: Angstrom, astigmatism: tuple[float, float], phase_shift: Degree) -> CtfModel:
        """The CTF of a mean defocus and an astigmatism vector (x, y): half of U - V, in the direction of twice the angle."""
        half = math.hypot(*astigmatism)
        angle = math.degrees(math.atan2(astigmatism[1], astigmatism[0]) / 2) if half > 0 else 0.0
        return CtfModel(
            defocus + half, defocus - half, angle, phase_shift, self.voltage, self.spherical_aberration, self.amplitude_contrast
        )


@dataclass(frozen=True)
class CtfSearch:
    """Where to look. Resolutions in Å; None means chosen from the pixel size."""

    min_resolution: Angstrom | None = None
    max_resolution: Angstrom | None = None
    min_defocus: Angstrom = 2000.0
    max_defocus: Angstrom = 60000.0
    max_astigmatism: Angstrom = 3000.0
    """Largest U - V."""
    phase_shift: bool = False
    """Whether to fit a phase shift; otherwise it is `min_phase_shift`."""
    min_phase_shift: Degree = 0.0
    max_phase_shift: Degree = 180.0

    def limits(self, pixel_size: float) -> tuple[float, float]:
        """(lowest, highest) frequency in 1/Å.

        Raises:
            BadInput: a range is empty, or lies beyond Nyquist.
        """
        if not 0 < self.min_defocus < self.max_defocus:
            raise BadInput(f"defocus from {self.min_defocus} to {self.max_defocus} Å is no range: give 0 < min < max")
        if self.max_astigmatism < 0:
            raise BadInput(f"largest astigmatism {self.max_astigmatism} Å is negative")
        if self.phase_shift and not self.min_phase_shift < self.max_phase_shift:
            raise BadInput(f"phase shift from {self.min_phase_shift} to {self.max_phase_shift}° is no range")
        nyquist = 2 * pixel_size
        finest = self.max_resolution or max(3.0, 2.35 * pixel_size)
        coarsest = self.min_resolution or max(30.0, 4 * finest)
        if finest < nyquist:
            raise BadInput(f"max resolution {finest} Å lies beyond Nyquist ({nyquist:.2f} Å at {pixel_size} Å/px)")
        if not finest * 1.5 < coarsest:
            raise BadInput(f"resolution from {coarsest} to {finest} Å is too narrow a range for rings")
        return 1 / coarsest, 1 / finest


@dataclass(frozen=True)
class CtfProfile:
    """Averages along lines of equal CTF phase, as functions of frequency. All (n,), float32."""

    frequency: Tensor
    """1/Å."""
    measured: Tensor
    """Measured power over the fitted background, minus 1."""
    fitted: Tensor
    """The same of the fit."""
    ctf_squared: Tensor
    agreement: Tensor
    """Correlation of measured and CTF in a window of one and a half rings around the frequency."""


@dataclass(frozen=True)
class CtfFit:
    """A fitted CTF and how far to trust it."""

    model: CtfModel
    score: float
    """Correlation of the fitted CTF with the background-free spectrum, 0..1."""
    resolution: Angstrom
    """To which the fitted rings agree with the measured ones."""
    defocus_error: Angstrom
    """Standard error of the mean defocus."""
    astigmatism_error: Angstrom
    """Standard error of either component of the astigmatism vector (U - V)(cos 2 angle, sin 2 angle)."""
    phase_shift_error: Degree
    profile: CtfProfile
    warnings: tuple[str, ...] = ()
    """Why this fit should not be trusted; empty when it looks sound."""
