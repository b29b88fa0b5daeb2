"""Reasons not to trust a fit."""

import math

from magellon.algorithms.ctf.records import CtfFit, CtfSearch
from magellon.units import Angstrom

LOW_SCORE = 0.4
POOR_RESOLUTION: Angstrom = 12.0
UNCERTAIN = 0.03
"""Standard error of the defocus, as a part of it."""
STRONG_ASTIGMATISM = 0.25
"""As a part of the defocus."""


def find_suspicions(fit: CtfFit, search: CtfSearch) -> tuple[str, ...]:
    """Reasons, in words, not to trust a fit; empty when it looks sound."""
    u, v = float(fit.model.defocus_u), float(fit.model.defocus_v)
    mean, astigmatism = (u + v) / 2, u - v
    coarsest, finest = (1 / float(fit.profile.frequency[index]) for index in (0, -1))
    poor = min(max(POOR_RESOLUTION, 3 * finest), 0.8 * coarsest)
    reasons = []
    if fit.score < LOW_SCORE:
        reasons.append(f"the measured rings hardly follow the fitted ones (score {fit.score:.2f}, sound from {LOW_SCORE})")
    if fit.resolution > poor:
        reasons.append(f"the rings agree only to {fit.resolution:.1f} Å")
    if fit.defocus_error > UNCERTAIN * mean:
        reasons.append(f"the defocus is uncertain by {fit.defocus_error:.0f} Å: others explain the rings nearly as well")
    margin = max(2 * fit.defocus_error, 0.01 * mean)
    if mean < search.min_defocus + margin or mean > search.max_defocus - margin:
        reasons.append(
            f"the defocus {mean:.0f} Å lies at the limit of the search ({search.min_defocus:.0f} to {search.max_defocus:.0f})"
        )
    if astigmatism > max(STRONG_ASTIGMATISM * mean, 6 * fit.astigmatism_error):
        reasons.append(f"the astigmatism {astigmatism:.0f} Å is large for a defocus of {mean:.0f} Å")
    if astigmatism > 0.95 * search.max_astigmatism > 0:
        reasons.append(f"the astigmatism {astigmatism:.0f} Å lies at the limit of the search ({search.max_astigmatism:.0f})")
    return tuple(reasons)


def compare_fits(given: CtfFit, own: CtfFit, log_odds: float) -> tuple[str, ...]:
    """Whether other values explain a spectrum so much better that the given ones cannot be right.

    Args:
        log_odds: of our own fit against the given one.
    """
    theirs = (float(given.model.defocus_u) + float(given.model.defocus_v)) / 2
    ours = (float(own.model.defocus_u) + float(own.model.defocus_v)) / 2
    if log_odds > 10 and abs(theirs - ours) > max(0.03 * ours, 6 * own.defocus_error) and math.isfinite(theirs):
        return (f"a defocus of {ours:.0f} Å (score {own.score:.2f}) explains the rings far better than {theirs:.0f} Å",)
    return ()
