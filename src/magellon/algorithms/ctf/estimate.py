"""Estimate the CTF of a micrograph or of its power spectrum."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from magellon.algorithms.ctf.anisotropy import remove_anisotropy
from magellon.algorithms.ctf.quality import fit_resolution, fit_score, make_profile
from magellon.algorithms.ctf.records import CtfFit, CtfSearch, Microscope
from magellon.algorithms.ctf.refine import Refinement, misfit_trust, refine_ctf
from magellon.algorithms.ctf.search import Candidate, rate_candidate, search_ctf
from magellon.algorithms.ctf.suspicion import compare_fits, find_suspicions
from magellon.algorithms.optics import CtfModel
from magellon.algorithms.spectrum.polar import PolarSpectrum, polar_average_image, polar_average_spectrum
from magellon.errors import BadInput

RIVAL = 0.8
"""Candidates of the search with more than this part of the best score are refined as well."""
MAX_REFINED = 4
FEWEST_RINGS = 24
SMALLEST_SIDE = 128
"""Pixels: a smaller image has too few rings."""


def estimate_ctf(
    image: Tensor, pixel_size: float, microscope: Microscope | None = None, search: CtfSearch | None = None
) -> CtfFit:
    """Fit the CTF of a micrograph.

    Args:
        image: (height, width), float32, not dose-weighted.
        pixel_size: Å/px.

    Raises:
        BadInput: the image is too small, constant or not finite, or the search is impossible.
    """
    _check(image, "image")
    return estimate_ctf_from_polar(polar_average_image(image, pixel_size), pixel_size, microscope, search)


def estimate_ctf_from_spectrum(
    power: Tensor, pixel_size: float, microscope: Microscope | None = None, search: CtfSearch | None = None
) -> CtfFit:
    """Fit the CTF of a centred power spectrum (|F|², not amplitude).

    Args:
        power: (size, size), zero frequency at [size // 2, size // 2].
        pixel_size: Å/px of the image whose Nyquist frequency is the edge.

    Raises:
        BadInput: as `estimate_ctf`.
    """
    _check(power, "spectrum")
    if float(power.min()) < 0:
        raise BadInput(f"a power spectrum is not negative, but this one reaches {float(power.min()):.4g}")
    return estimate_ctf_from_polar(polar_average_spectrum(power, pixel_size), pixel_size, microscope, search)


def estimate_ctf_from_polar(
    polar: PolarSpectrum, pixel_size: float, microscope: Microscope | None = None, search: CtfSearch | None = None
) -> CtfFit:
    """Fit the CTF of a polar average."""
    microscope = microscope or Microscope()
    search = search or CtfSearch()
    whole = _prepare(polar, pixel_size, search)
    best, odds, _ = _solve(whole, microscope, search)
    return _finish(whole, microscope, best, search, odds)


def judge_ctf(polar: PolarSpectrum, pixel_size: float, model: CtfModel, search: CtfSearch | None = None) -> CtfFit:
    """Score CTF values made elsewhere on a spectrum, without changing them; `warnings` says why they cannot be right."""
    search = search or CtfSearch()
    microscope = Microscope(model.voltage, model.spherical_aberration, model.amplitude_contrast)
    whole = _prepare(polar, pixel_size, search)
    best, odds, trust = _solve(whole, microscope, search)
    own = _finish(whole, microscope, best, search, odds)
    half = (float(model.defocus_u) - float(model.defocus_v)) / 2
    angle = math.radians(2 * float(model.defocus_angle))
    mean = (float(model.defocus_u) + float(model.defocus_v)) / 2
    place = Candidate(mean, (half * math.cos(angle), half * math.sin(angle)), float(model.phase_shift), 0.0)
    held = refine_ctf(whole, microscope, place, None, trust)
    given = _finish(whole, microscope, held, search, [])
    return replace(given, warnings=given.warnings + compare_fits(given, own, held.loss - best.loss))


def _prepare(polar: PolarSpectrum, pixel_size: float, search: CtfSearch) -> PolarSpectrum:
    low, high = search.limits(pixel_size)
    counted = _calibrate_counts(polar)
    whole = counted.rings(low, high)
    if len(whole.ring_k) < FEWEST_RINGS:
        raise BadInput(f"only {len(whole.ring_k)} frequencies from {1 / low:.1f} to {1 / high:.1f} Å: the image is too small")
    return remove_anisotropy(whole)


def _solve(
    whole: PolarSpectrum, microscope: Microscope, search: CtfSearch
) -> tuple[Refinement, list[tuple[Candidate, float]], Tensor]:
    """The best fit, its rivals with the logarithm of their odds against it, and the trust in each ring (rings,)."""
    candidates = search_ctf(whole, microscope, search)
    rivals = [rival for rival in candidates if rival.score >= RIVAL * candidates[0].score][:MAX_REFINED]
    fits = [refine_ctf(whole, microscope, rival, search) for rival in rivals]
    rates = [rate_candidate(whole, microscope, _restart(fit)) for fit in fits]
    trust = misfit_trust(whole, fits[rates.index(max(rates))])
    # Likelihood alone would let a strange course of the low frequencies decide.
    fits = [fit for fit, rate in zip(fits, rates, strict=True) if rate >= RIVAL * max(rates)]
    fits = [refine_ctf(whole, microscope, _restart(fit), search, trust, fit.prior) for fit in fits]
    best = min(fits, key=lambda fit: fit.loss)
    own = rate_candidate(whole, microscope, _restart(best))
    odds = [(_restart(fit), best.loss - fit.loss) for fit in fits]
    odds += [(rival, (rival.score**2 - own**2) / 2) for rival in candidates[len(rivals) :]]
    return best, odds, trust


def _restart(fit: Refinement) -> Candidate:
    defocus, x, y, phase = fit.parameters.tolist()
    return Candidate(defocus, (x, y), math.degrees(phase), 0.0)


def _calibrate_counts(polar: PolarSpectrum) -> PolarSpectrum:
    """Numbers of independent samples as the scatter within the rings shows them: a given spectrum may be an average of many."""
    count = polar.count.double()
    ring = (polar.power.double() * count).sum(dim=1) / count.sum(dim=1).clamp(min=1)
    scatter = ((polar.power.double() / ring.clamp(min=1e-30)[:, None] - 1) ** 2 * count).sum(dim=1)
    bins = (count > 0).sum(dim=1)
    usable = bins > polar.count.shape[1] // 2
    dispersion = float((scatter[usable] / (bins[usable] - 1)).median())
    if not dispersion > 0:
        raise BadInput("the spectrum does not vary: there is nothing to fit")
    return replace(polar, count=polar.count / dispersion)


def _finish(
    polar: PolarSpectrum, microscope: Microscope, fit: Refinement, search: CtfSearch, rivals: Sequence[tuple[Candidate, float]]
) -> CtfFit:
    defocus, x, y, phase = fit.parameters.tolist()
    profile = make_profile(polar, microscope, fit)
    score = fit_score(profile, rate_candidate(polar, microscope, _restart(fit)))
    errors = torch.diagonal(fit.covariance).clamp(min=0).sqrt().tolist()
    defocus_spread, astigmatism_spread = _spread_of_rivals(fit, errors[0], rivals)
    result = CtfFit(
        model=microscope.model(defocus, (x, y), math.degrees(phase)),
        score=score,
        resolution=fit_resolution(profile) if score > 0 else 1 / float(profile.frequency[0]),
        defocus_error=math.hypot(errors[0], defocus_spread),
        astigmatism_error=2 * math.sqrt((errors[1] ** 2 + errors[2] ** 2) / 2 + astigmatism_spread**2),
        phase_shift_error=math.degrees(errors[3]),
        profile=profile,
    )
    return replace(result, warnings=find_suspicions(result, search))


def _spread_of_rivals(fit: Refinement, error: float, rivals: Sequence[tuple[Candidate, float]]) -> tuple[float, float]:
    """Standard deviations that other maxima of the likelihood add to defocus and to a component of the astigmatism.

    Args:
        rivals: each with the logarithm of its odds against the fit.
    """
    defocus, x, y, _ = fit.parameters.tolist()
    total, by_defocus, by_astigmatism = 1.0, 0.0, 0.0
    for rival, log_odds in rivals:
        apart = rival.defocus - defocus
        if abs(apart) > 3 * error:
            odds = math.exp(min(50.0, log_odds))
            total += odds
            by_defocus += odds * apart**2
            by_astigmatism += odds * ((rival.astigmatism[0] - x) ** 2 + (rival.astigmatism[1] - y) ** 2) / 2
    return math.sqrt(by_defocus / total), math.sqrt(by_astigmatism / total)


def _check(image: Tensor, what: str) -> None:
    if image.ndim != 2 or min(image.shape) < SMALLEST_SIDE:
        raise BadInput(
            f"{what} of shape {tuple(image.shape)}: CTF estimation needs at least {SMALLEST_SIDE} x {SMALLEST_SIDE} px"
        )
    least, greatest = (float(value) for value in torch.aminmax(image))
    if not math.isfinite(greatest - least):
        raise BadInput(f"{what} holds values that are not finite")
    if greatest == least:
        raise BadInput(f"{what} is constant: there is nothing to fit")
