"""CTF estimation: a micrograph tells its defocus."""

from pathlib import Path

from magellon.contracts.backend import Contract
from magellon.contracts.record import Record
from magellon.contracts.specimen import Ctf, Micrograph
from magellon.units import Angstrom


class CtfInput(Record):
    micrograph: Micrograph
    """Unweighted: dose weighting removes the rings."""
    group_spectrum: Path | None = None
    """Fitted as well when there: power |F|², square, centred, with the pixel size in its header. The surer fit counts."""


class CtfOutput(Record):
    ctf: Ctf
    defocus_error: Angstrom
    astigmatism_error: Angstrom
    """Estimated standard errors."""
    ice: float | None = None
    """Power of the strongest ring of ice, about 3.7 Å, above what lies around it, as a fraction of that: 0 without, some tenths
    of vitreous ice, more of crystals. None where the pixels are too large or the backend does not tell."""
    warnings: tuple[str, ...] = ()
    """Why this fit should not be trusted; empty when it looks sound."""
    spectrum: Path
    """Amplitude spectrum as MRC, half measured and half fitted (`NAME_ctf.mrc`)."""
    picture: Path
    """The same as PNG, with the profile below (`NAME_ctf.png`)."""
    profile: Path
    """Radial profile: frequency, measured, fitted, agreement (`NAME_ctf_profile.star`)."""


CTF_ESTIMATION = Contract(
    "ctf_estimation",
    CtfInput,
    CtfOutput,
    sources={"micrograph": "motion_correction.unweighted", "group_spectrum": "motion_correction.group_spectrum"},
)
