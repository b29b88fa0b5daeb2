"""Estimate the CTF of a micrograph or of its power spectrum."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from magellon.algorithms.ctf.quality import fit_resolution, fit_score, make_profile
from magellon.algorithms.ctf.records import CtfFit, CtfSearch, Microscope
from magellon.algorithms.ctf.refine import Refinement, misfit_trust, refine_ctf
from magellon.algorithms.ctf.search import Candidate, rate_candidate, ring_trust, search_ctf
from magellon.algorithms.optics import CtfModel
from magellon.algorithms.spectrum.polar import PolarSpectrum, polar_average_image, polar_average_spectrum
from magellon.errors import BadInput

RIVAL = 0.8
"""Candidates of the search with more than this part of the best score are refined as well."""
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
    low, high = search.limits(pixel_size)
    whole = _calibrate_counts(polar).rings(low, high)
    candidates = search_ctf(whole, microscope, search)
    trust = ring_trust(whole)
    free = (True, True, True, search.phase_shift)
    fits = [refine_ctf(whole, microscope, rival, free, trust) for rival in candidates if rival.score > RIVAL * candidates[0].score]
    best = max(fits, key=lambda fit: rate_candidate(whole, microscope, _restart(fit)))
    fit = refine_ctf(whole, microscope, _restart(best), free, misfit_trust(whole, best))
    return _finish(whole, microscope, fit, candidates)


def judge_ctf(polar: PolarSpectrum, pixel_size: float, model: CtfModel, search: CtfSearch | None = None) -> CtfFit:
    """Score given CTF values on a spectrum, without changing them; `warnings` says why they cannot be right."""
    search = search or CtfSearch()
    microscope = Microscope(model.voltage, model.spherical_aberration, model.amplitude_contrast)
    whole = _calibrate_counts(polar).rings(*search.limits(pixel_size))
    half = (float(model.defocus_u) - float(model.defocus_v)) / 2
    angle = math.radians(2 * float(model.defocus_angle))
    start = Candidate(
        (float(model.defocus_u) + float(model.defocus_v)) / 2,
        (half * math.cos(angle), half * math.sin(angle)),
        float(model.phase_shift),
        0.0,
    )
    return _finish(whole, microscope, refine_ctf(whole, microscope, start, (False,) * 4), [])


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


def _finish(polar: PolarSpectrum, microscope: Microscope, fit: Refinement, rivals: list[Candidate]) -> CtfFit:
    defocus, x, y, phase = fit.parameters.tolist()
    profile = make_profile(polar, microscope, fit)
    errors = torch.diagonal(fit.covariance).clamp(min=0).sqrt().tolist()
    own = rate_candidate(polar, microscope, _restart(fit))
    defocus_spread, astigmatism_spread = _spread_of_rivals(fit, errors[0], own, rivals)
    return CtfFit(
        model=microscope.model(defocus, (x, y), math.degrees(phase)),
        score=fit_score(profile),
        resolution=fit_resolution(profile),
        defocus_error=math.hypot(errors[0], defocus_spread),
        astigmatism_error=2 * math.sqrt((errors[1] ** 2 + errors[2] ** 2) / 2 + astigmatism_spread**2),
        phase_shift_error=math.degrees(errors[3]),
        profile=profile,
    )


def _spread_of_rivals(fit: Refinement, error: float, own: float, rivals: list[Candidate]) -> tuple[float, float]:
    """Standard deviations that other maxima of the likelihood add to defocus and to a component of the astigmatism."""
    defocus, x, y, _ = fit.parameters.tolist()
    total, by_defocus, by_astigmatism = 1.0, 0.0, 0.0
    for rival in rivals:
        apart = rival.defocus - defocus
        if abs(apart) > 3 * error:
            chance = math.exp(min(50.0, (rival.score**2 - own**2) / 2))
            total += chance
            by_defocus += chance * apart**2
            by_astigmatism += chance * ((rival.astigmatism[0] - x) ** 2 + (rival.astigmatism[1] - y) ** 2) / 2
    return math.sqrt(by_defocus / total), math.sqrt(by_astigmatism / total)


def _check(image: Tensor, what: str) -> None:
    if image.ndim != 2 or min(image.shape) < SMALLEST_SIDE:
        raise BadInput(f"{what} of shape {tuple(image.shape)}: CTF estimation needs at least {SMALLEST_SIDE} x {SMALLEST_SIDE} px")
    if not bool(torch.isfinite(image).all()):
        raise BadInput(f"{what} holds values that are not finite")
    if float(image.max()) == float(image.min()):
        raise BadInput(f"{what} is constant: there is nothing to fit")
