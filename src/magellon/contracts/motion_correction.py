"""Motion correction: a movie becomes an aligned micrograph."""

from pathlib import Path

from magellon.contracts.backend import Contract
from magellon.contracts.gain_check import CheckedGain
from magellon.contracts.record import Record
from magellon.contracts.specimen import GainOrientation, Micrograph, Movie
from magellon.units import Angstrom


class MotionInput(Record):
    movie: Movie
    checked_gains: tuple[CheckedGain, ...] = ()
    """What the first movies of the session say of how gain references lie; it counts more than what the movie says."""

    @property
    def oriented_movie(self) -> Movie:
        """The movie with its gain reference in the orientation that the gain check found, if it found one."""
        gain = self.movie.gain
        found = [each.orientation for each in self.checked_gains if gain is not None and each.gain == gain.path.name]
        if gain is None or not found or found[0] is None:
            return self.movie
        turned = gain.model_copy(update={"rotation": found[0].rotation, "flip": found[0].flip})
        return self.movie.model_copy(update={"gain": turned})


class MotionOutput(Record):
    """File names start with the movie's name, as RELION and cryoSPARC expect."""

    micrograph: Micrograph
    """For picking and extraction: dose-weighted when the exposure is known (`NAME.mrc`)."""
    unweighted: Micrograph
    """For CTF estimation (`NAME_noDW.mrc`; the same file as `micrograph` when the exposure is unknown)."""
    even: Path | None
    odd: Path | None
    """Unweighted half sums `NAME_EVN.mrc` (0-based even frames) and `NAME_ODD.mrc`."""
    group_spectrum: Path | None = None
    """Sum of the power spectra of groups of about 4 e/Å² (`NAME_PS.mrc`): keeps Thon rings that motion blurs in the sum."""
    star: Path
    """RELION's motion metadata (`NAME.star`)."""
    plot: Path
    """Picture of the tracks (`NAME_motion.png`)."""
    gain_orientation: GainOrientation | None = None
    """In which the gain reference was used; None without one."""
    frames: int
    total_motion: Angstrom
    early_motion: Angstrom
    late_motion: Angstrom
    """Summed |step| of the global track; early and late are split at 4 e/Å² including pre-exposure."""


MOTION_CORRECTION = Contract(
    "motion_correction",
    MotionInput,
    MotionOutput,
    sources={"movie": "session.movie", "checked_gains": "gain_check.gains"},
)
