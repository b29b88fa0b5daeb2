"""How good a fit is: profiles along lines of equal phase, fit resolution, score, warnings."""

import math

import torch
from torch import Tensor

from magellon.algorithms.ctf.records import CtfProfile, Microscope
from magellon.algorithms.ctf.refine import Refinement, smooth_level
from magellon.algorithms.spectrum.polar import PolarSpectrum

AGREEMENT = 0.5
"""Correlation of measured and fitted rings at which the fit resolution ends."""
WINDOW_RINGS = 1.5


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
    mean_measured = _average_at(place, measured, weights, len(k))
    mean_fitted = _average_at(place, level - 1, weights, len(k))
    ctf_squared = torch.sin(ring_chi) ** 2
    agreement = _windowed_correlation(mean_measured, -torch.cos(2 * ring_chi), _window(ring_chi))
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


def _window(ring_chi: Tensor) -> Tensor:
    """Half width, in rings of the spectrum, of a window of one and a half Thon rings; (rings,)."""
    slope = torch.gradient(ring_chi)[0].abs().clamp(min=1e-6)
    return (WINDOW_RINGS * math.pi / slope / 2).clamp(min=4, max=max(4, len(ring_chi) // 4)).round().long()


def _windowed_correlation(measured: Tensor, model: Tensor, half: Tensor) -> Tensor:
    index = torch.arange(len(measured), device=measured.device)
    low = (index - half).clamp(min=0)
    high = (index + half + 1).clamp(max=len(measured))
    size = (high - low).to(measured.dtype)

    def window_mean(values: Tensor) -> Tensor:
        running = torch.nn.functional.pad(values.cumsum(0), (1, 0))
        return (running[high] - running[low]) / size

    x, y = window_mean(measured), window_mean(model)
    xx = window_mean(measured**2) - x**2
    yy = window_mean(model**2) - y**2
    xy = window_mean(measured * model) - x * y
    return (xy / (xx * yy).clamp(min=1e-24).sqrt()).clamp(-1, 1)


def fit_resolution(profile: CtfProfile) -> float:
    """Å to which measured and fitted rings agree: the first frequency where the agreement stays below the threshold."""
    agreement = profile.agreement
    good = agreement > AGREEMENT
    if not bool(good.any()):
        return float(1 / profile.frequency[0])
    run = max(3, len(good) // 60)
    kernel = torch.ones(1, 1, run)
    bad = (~good).float().cpu()
    start = int(good.cpu().nonzero()[0])
    streak = torch.nn.functional.conv1d(bad[None, None, start:], kernel)[0, 0]
    ends = (streak >= run).nonzero()
    last = start + int(ends[0]) if len(ends) else len(good)
    return float(1 / profile.frequency[max(0, last - 1)])


def fit_score(profile: CtfProfile) -> float:
    """Correlation of the fitted CTF with the background-free spectrum along the profile, 0..1."""
    x = profile.measured.double()
    y = profile.ctf_squared.double()
    x, y = x - x.mean(), y - y.mean()
    norm = float((x * x).sum() * (y * y).sum()) ** 0.5
    return max(0.0, float((x * y).sum()) / norm) if norm > 0 else 0.0
