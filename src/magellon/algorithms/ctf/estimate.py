"""Estimate the CTF of a micrograph or of its power spectrum."""

import math

import torch
from torch import Tensor

from magellon.algorithms.ctf.quality import fit_resolution, fit_score, make_profile
from magellon.algorithms.ctf.records import CtfFit, CtfSearch, Microscope
from magellon.algorithms.ctf.refine import Refinement, misfit_trust, refine_ctf
from magellon.algorithms.ctf.search import Candidate, ring_trust, search_ctf
from magellon.algorithms.optics import CtfModel
from magellon.algorithms.spectrum.polar import PolarSpectrum, polar_average_image, polar_average_spectrum
from magellon.errors import BadInput

SMALLEST_SIDE = 128
"""Pixels: a smaller image has too few rings."""
SAFE_SEARCH = 5.0
"""Å: the coarse search goes no further, so that its steps stay within half a ring."""


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
    whole = polar.rings(low, high)
    coarse = polar.rings(low, min(high, max(1 / SAFE_SEARCH, 2 * low)))
    candidates = search_ctf(coarse, microscope, search)
    trust = ring_trust(coarse)
    rough = [refine_ctf(coarse, microscope, candidate, search.phase_shift, trust=trust) for candidate in candidates]
    best = min(rough, key=lambda fit: fit.loss)
    fit = refine_ctf(whole, microscope, _restart(best), search.phase_shift, trust=ring_trust(whole))
    fit = refine_ctf(whole, microscope, _restart(fit), search.phase_shift, trust=misfit_trust(whole, fit))
    return _finish(whole, microscope, fit)


def judge_ctf(polar: PolarSpectrum, pixel_size: float, model: CtfModel, search: CtfSearch | None = None) -> CtfFit:
    """Score given CTF values on a spectrum, without changing them; `warnings` says why they cannot be right."""
    search = search or CtfSearch()
    microscope = Microscope(model.voltage, model.spherical_aberration, model.amplitude_contrast)
    whole = polar.rings(*search.limits(pixel_size))
    half = (float(model.defocus_u) - float(model.defocus_v)) / 2
    angle = math.radians(2 * float(model.defocus_angle))
    start = Candidate(
        (float(model.defocus_u) + float(model.defocus_v)) / 2,
        (half * math.cos(angle), half * math.sin(angle)),
        float(model.phase_shift),
        0.0,
    )
    return _finish(whole, microscope, refine_ctf(whole, microscope, start, False, fixed_model=True))


def _restart(fit: Refinement) -> Candidate:
    defocus, x, y, phase = fit.parameters.tolist()
    return Candidate(defocus, (x, y), math.degrees(phase), 0.0)


def _finish(polar: PolarSpectrum, microscope: Microscope, fit: Refinement) -> CtfFit:
    defocus, x, y, phase = fit.parameters.tolist()
    profile = make_profile(polar, microscope, fit)
    errors = torch.diagonal(fit.covariance).clamp(min=0).sqrt().tolist()
    return CtfFit(
        model=microscope.model(defocus, (x, y), math.degrees(phase)),
        score=fit_score(profile),
        resolution=fit_resolution(profile),
        defocus_error=errors[0],
        astigmatism_error=2 * math.sqrt((errors[1] ** 2 + errors[2] ** 2) / 2),
        phase_shift_error=math.degrees(errors[3]),
        profile=profile,
    )


def _check(image: Tensor, what: str) -> None:
    if image.ndim != 2 or min(image.shape) < SMALLEST_SIDE:
        raise BadInput(f"{what} of shape {tuple(image.shape)}: CTF estimation needs at least {SMALLEST_SIDE} x {SMALLEST_SIDE} px")
    if not bool(torch.isfinite(image).all()):
        raise BadInput(f"{what} holds values that are not finite")
    if float(image.max()) == float(image.min()):
        raise BadInput(f"{what} is constant: there is nothing to fit")
