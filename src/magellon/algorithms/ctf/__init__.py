"""CTF estimation: from a micrograph, or its power spectrum, to defocus, astigmatism and phase shift with their errors.

The spectrum is averaged over small polar bins (`magellon.algorithms.spectrum`), searched over the whole range by matched
filters in angular sectors, and refined by maximum likelihood: a periodogram is exponentially distributed around background +
envelope * CTF² (Whittle 1953), with smooth background and envelope fitted at the same time. The Fisher information, and the
odds of other maxima, give the errors.
"""

from magellon.algorithms.ctf.estimate import estimate_ctf, estimate_ctf_from_polar, estimate_ctf_from_spectrum, judge_ctf
from magellon.algorithms.ctf.records import CtfFit, CtfProfile, CtfSearch, Microscope

__all__ = [
    "CtfFit",
    "CtfProfile",
    "CtfSearch",
    "Microscope",
    "estimate_ctf",
    "estimate_ctf_from_polar",
    "estimate_ctf_from_spectrum",
    "judge_ctf",
]
