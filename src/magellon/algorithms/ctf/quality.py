"""How good a fit is: profiles along lines of equal phase, fit resolution, score, warnings."""

import math

import torch
from torch import Tensor

from magellon.algorithms.ctf.likelihood import smooth_level
from magellon.algorithms.ctf.records import CtfProfile, Microscope
from magellon.algorithms.ctf.refine import Refinement
from magellon.algorithms.spectrum.polar import PolarSpectrum

AGREEMENT = 0.5
"""Correlation of measured and fitted rings at which the fit resolution ends."""
LATEST_START = 1 / 15
"""1/Å: low frequencies up to here may disagree, as particles and contamination reign there."""
WINDOW_RINGS = 1.5
SMOOTHING = 0.25
"""Of half a ring, to each side: noise is averaged over as much as leaves the rings as they are."""
NOISE_REACHES = 4.5
"""Significance, in standard deviations, that the best of all candidates reaches in white noise."""
SCORE_END = 1 / 5
"""1/Å."""


def make_profile(polar: PolarSpectrum, microscope: Microscope, fit: Refinement) -> CtfProfile:
    """Average along lines of equal CTF phase: each bin goes to the frequency at which the mean defocus has its phase."""
    defocus, phase = float(fit.parameters[0]), float(fit.parameters[3])
    k = polar.ring_k.double()
    ring_chi = _mean_phase(k, defocus, phase, microscope)
    place = _equiphase_ring(polar, microscope, fit)
    level = fit.expected / (fit.background[:, None]).clamp(min=1e-6)
    raw = _ring_mean(polar)
    measured = raw / fit.background[:, None].clamp(min=1e-6) - 1
    weights = polar.count.double()
    half_ring = _ring_width(ring_chi)
    mean_measured = _running_mean(_average_at(place, measured, weights, len(k)), half_ring * SMOOTHING)
    mean_fitted = _average_at(place, level - 1, weights, len(k))
    ctf_squared = torch.sin(ring_chi) ** 2
    agreement = _windowed_correlation(mean_measured, -torch.cos(2 * ring_chi), half_ring * WINDOW_RINGS)
    values = (k, mean_measured, mean_fitted, ctf_squared, agreement)
    return CtfProfile(*(value.float() for value in values))


def _ring_mean(polar: PolarSpectrum) -> Tensor:
    return polar.power.double() / smooth_level(polar)[:, None]


def _mean_phase(k: Tensor, defocus: float, phase: float, microscope: Microscope) -> Tensor:
    wavelength = microscope.wavelength
    aberration = math.pi / 2 * microscope.spherical_aberration * 1e7 * wavelength**3 * k**4
    return math.pi * wavelength * defocus * k**2 - aberration + phase + math.asin(microscope.amplitude_contrast)


def _equiphase_ring(polar: PolarSpectrum, microscope: Microscope, fit: Refinement) -> Tensor:
    """Index of the ring at which the mean defocus has the phase of each bin."""
    wavelength = microscope.wavelength
    quadratic = math.pi * wavelength
    quartic = math.pi / 2 * microscope.spherical_aberration * 1e7 * wavelength**3
    mean = float(fit.parameters[0])
    theta = polar.theta.double()
    own = mean + float(fit.parameters[1]) * torch.cos(2 * theta) + float(fit.parameters[2]) * torch.sin(2 * theta)
    k2 = polar.k_squared.double()
    target = quadratic * own * k2 - quartic * k2**2
    if quartic == 0:
        equivalent = target / (quadratic * mean)
    else:
        # Below the turning point of the phase; beyond it the bin keeps its own frequency.
        turning = quadratic * mean / (2 * quartic)
        inside = turning**2 - target / quartic
        equivalent = torch.where((inside > 0) & (k2 < turning), turning - inside.clamp(min=0).sqrt(), k2)
    k = polar.ring_k.double()
    return torch.searchsorted((k[1:] + k[:-1]) / 2, equivalent.clamp(min=0).sqrt().contiguous())


def _average_at(place: Tensor, values: Tensor, weights: Tensor, rings: int) -> Tensor:
    total = torch.zeros(2, rings, dtype=torch.float64, device=values.device)
    stacked = torch.stack([(values * weights).reshape(-1), weights.reshape(-1)])
    total.index_add_(1, place.reshape(-1), stacked)
    return total[0] / total[1].clamp(min=1e-9)


def _ring_width(ring_chi: Tensor) -> Tensor:
    """Half the width of the Thon ring at each ring of the spectrum, in rings of the spectrum; (rings,)."""
    slope = torch.gradient(ring_chi)[0].abs().clamp(min=1e-6)
    return (math.pi / slope / 2).clamp(min=1, max=max(4, len(ring_chi) // 4))


def _running_mean(values: Tensor, half: Tensor) -> Tensor:
    """Mean over a window of changing half width (rounded, at least 0); (n,)."""
    index = torch.arange(len(values), device=values.device)
    reach = half.round().long().clamp(min=0)
    low, high = (index - reach).clamp(min=0), (index + reach + 1).clamp(max=len(values))
    running = torch.nn.functional.pad(values.cumsum(0), (1, 0))
    return (running[high] - running[low]) / (high - low)


def _windowed_correlation(measured: Tensor, model: Tensor, half: Tensor) -> Tensor:
    half = half.clamp(min=4)
    x, y = _running_mean(measured, half), _running_mean(model, half)
    xx = _running_mean(measured**2, half) - x**2
    yy = _running_mean(model**2, half) - y**2
    xy = _running_mean(measured * model, half) - x * y
    return (xy / (xx * yy).clamp(min=1e-24).sqrt()).clamp(-1, 1)


def fit_resolution(profile: CtfProfile) -> float:
    """Å to which measured and fitted rings agree: the first frequency where the agreement stays below the threshold.

    The end of the range with the lowest frequency when they do not agree from the first rings on.
    """
    good = (profile.agreement > AGREEMENT).cpu()
    nowhere = float(1 / profile.frequency[0])
    if not bool(good.any()):
        return nowhere
    run = max(3, len(good) // 60)
    start = int(good.nonzero()[0])
    if float(profile.frequency[start]) > max(LATEST_START, 1.5 * float(profile.frequency[0])):
        return nowhere
    bad = torch.nn.functional.pad((~good[start:]).long().cumsum(0), (1, 0))
    ends = (bad[run:] - bad[:-run] == run).nonzero()
    last = start + int(ends[0]) if len(ends) else len(good)
    return float(1 / profile.frequency[max(0, last - 1)])


def fit_score(profile: CtfProfile, significance: float) -> float:
    """Correlation of the fitted CTF with the background-free spectrum, averaged over windows of one and a half rings, 0..1.

    Up to 5 Å, or to the end of the fit when that comes first; so that strong low frequencies do not decide alone. Lowered for
    fits that are hardly more significant than the best that a search finds in noise.

    Args:
        significance: of the fit, in standard deviations of noise.
    """
    counted = profile.frequency <= max(SCORE_END, 2 * float(profile.frequency[0]))
    correlation = float(profile.agreement[counted].double().mean().clamp(min=0))
    return correlation * math.sqrt(max(0.0, 1 - (NOISE_REACHES / max(significance, 1e-9)) ** 2))
