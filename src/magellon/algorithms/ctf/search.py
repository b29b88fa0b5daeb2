"""The coarse search: every defocus, astigmatism and phase shift, by matched filters.

In each angular sector the astigmatic CTF is that of one defocus, so one table of (sector, defocus) correlations serves every
astigmatism; a phase shift rotates the correlations with the sine and the cosine of the phase.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.ctf.records import CtfSearch, Microscope
from magellon.algorithms.ctf.splines import fit_spline, smooth, solve_symmetric, spline_basis
from magellon.algorithms.spectrum.polar import PolarSpectrum

BACKGROUND_KNOTS = 8
PHASE_STEP = 0.5
"""Radians of the CTF's squared phase, at the highest frequency searched, between two defocus values."""


@dataclass(frozen=True)
class Candidate:
    """A place to start the refinement. Lengths in Å, `phase_shift` in degrees."""

    defocus: float
    astigmatism: tuple[float, float]
    """(x, y): half of U - V, in the direction of twice the angle."""
    phase_shift: float
    score: float
    """In standard deviations of noise."""


def search_ctf(polar: PolarSpectrum, microscope: Microscope, search: CtfSearch, keep: int = 5) -> list[Candidate]:
    """The best candidates that differ in defocus, best first.

    Args:
        polar: rings within the resolution limits of the search.
    """
    reach = search.max_astigmatism / 2
    k = polar.ring_k.double()
    step = PHASE_STEP / (2 * math.pi * microscope.wavelength * float(k[-1]) ** 2)
    lowest = max(search.min_defocus - reach, 100.0)
    count = math.ceil((search.max_defocus + reach - lowest) / step) + 1
    defoci = lowest + step * torch.arange(count, dtype=torch.float64, device=k.device)
    cosine, sine, gram = _filtered(polar, defoci, microscope)
    vectors = _astigmatism_grid(reach, 2 * step)
    return _best(cosine, sine, gram, defoci, vectors, polar, search, keep)


def ring_weights(polar: PolarSpectrum) -> tuple[Tensor, Tensor, Tensor]:
    """What is known of the rings before any CTF is.

    Returns:
        The smooth background; the expected amplitude of the rings relative to it; the weight of each ring, the inverse of its
        variance, which counts half of what rises above noise as misfit, so that no frequency dominates. All (rings,).
    """
    count = polar.count.double().sum(dim=1).clamp(min=1)
    radial = (polar.power.double() * polar.count).sum(dim=1) / count
    basis = spline_basis(polar.ring_k.double(), BACKGROUND_KNOTS)
    background = (basis @ fit_spline(basis, radial.clamp(min=1e-30).log(), count)).exp()
    noise = 1 / count
    variance = smooth((radial / background - 1) ** 2, max(5, len(count) // 16))
    signal = (variance - noise).clamp(min=0) + 0.02 * noise
    return background, signal.sqrt(), 1 / (noise + 0.5 * signal)


def ring_trust(polar: PolarSpectrum) -> Tensor:
    """(rings,), 0..1: the weight of each ring relative to what counting noise alone would give it."""
    _, _, weight = ring_weights(polar)
    return weight / polar.count.double().sum(dim=1).clamp(min=1)


def _filtered(polar: PolarSpectrum, defoci: Tensor, microscope: Microscope) -> tuple[Tensor, Tensor, Tensor]:
    """Correlations (defocus, sector) with cos and sin of twice the phase, and their (3, defocus) norms cc, ss, cs."""
    background, amplitude, weight = ring_weights(polar)
    k_squared = (polar.ring_k.double() ** 2)[:, None]
    wavelength = microscope.wavelength
    fixed = -math.pi * microscope.spherical_aberration * 1e7 * wavelength**3 * k_squared**2
    fixed = fixed + 2 * math.asin(microscope.amplitude_contrast)
    double_phase = 2 * math.pi * wavelength * defoci * k_squared + fixed
    basis = spline_basis(polar.ring_k.double(), BACKGROUND_KNOTS)
    weighted = basis * weight[:, None]
    normal = weighted.T @ basis
    templates = []
    for wave in (torch.cos(double_phase), torch.sin(double_phase)):
        template = amplitude[:, None] * wave
        templates.append(template - basis @ solve_symmetric(normal, weighted.T @ template))
    cosine, sine = templates
    count = polar.count.double()
    free = (polar.power.double() / background[:, None] - 1) * count / count.sum(dim=1, keepdim=True).clamp(min=1)
    data = free * weight[:, None]
    norm = weight[:, None]
    gram = torch.stack([(norm * a * b).sum(dim=0) for a, b in ((cosine, cosine), (sine, sine), (cosine, sine))])
    return cosine.T @ data, sine.T @ data, gram


def _astigmatism_grid(reach: float, step: float) -> list[tuple[float, float]]:
    """Vectors on rings of growing radius, spaced about a step apart (wider where the astigmatism is large)."""
    vectors = [(0.0, 0.0)]
    radius = step
    while radius <= reach:
        directions = max(6, round(2 * math.pi * min(radius, 4 * step) / step))
        angles = [2 * math.pi * n / directions for n in range(directions)]
        vectors += [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]
        radius += step * max(1.0, radius / (4 * step))
    return vectors


def _best(
    cosine: Tensor, sine: Tensor, gram: Tensor, defoci: Tensor, vectors: list[tuple[float, float]],
    polar: PolarSpectrum, search: CtfSearch, keep: int,
) -> list[Candidate]:
    sectors = cosine.shape[1]
    step = float(defoci[1] - defoci[0])
    theta = polar.theta[-1].double()
    directions = torch.stack([torch.cos(2 * theta), torch.sin(2 * theta)])
    offsets = torch.tensor(vectors, dtype=torch.float64, device=defoci.device) @ directions / step
    inside = ((defoci >= search.min_defocus) & (defoci <= search.max_defocus)).nonzero().squeeze(-1)
    columns = torch.arange(sectors, device=defoci.device)
    scores, phases = [], []
    for offset in offsets.round().long():
        place = (inside[:, None] + offset).clamp(0, len(defoci) - 1)
        real = cosine[place, columns].sum(dim=1)
        imaginary = sine[place, columns].sum(dim=1)
        score, phase = _score_phase(real, imaginary, gram[:, inside], search)
        scores.append(score)
        phases.append(phase)
    table, phase_table = torch.stack(scores), torch.stack(phases)
    best, which = table.max(dim=0)
    return _separate_peaks(best, which, phase_table, defoci[inside], vectors, keep)


def _score_phase(real: Tensor, imaginary: Tensor, gram: Tensor, search: CtfSearch) -> tuple[Tensor, Tensor]:
    """Normalised correlation with -cos(2 chi) and the phase shift (degrees) of the best one."""
    low = search.min_phase_shift
    trial = [low]
    if search.phase_shift:
        steps = max(2, math.ceil((search.max_phase_shift - low) / 10))
        trial = [low + (search.max_phase_shift - low) * n / steps for n in range(steps + 1)]
    angles = torch.deg2rad(torch.tensor(trial, dtype=torch.float64, device=real.device))[:, None] * 2
    c, s = torch.cos(angles), torch.sin(angles)
    value = -(c * real - s * imaginary)
    norm = c**2 * gram[0] + s**2 * gram[1] - 2 * c * s * gram[2]
    score, which = (value / norm.clamp(min=1e-30).sqrt()).max(dim=0)
    return score, torch.rad2deg(angles[:, 0] / 2)[which]


def _separate_peaks(
    best: Tensor, which: Tensor, phases: Tensor, defoci: Tensor, vectors: list[tuple[float, float]], keep: int
) -> list[Candidate]:
    width = 4
    padded = torch.nn.functional.pad(best[None, None], (width, width), value=float("-inf"))
    highest = torch.nn.functional.max_pool1d(padded, 2 * width + 1, stride=1)[0, 0]
    peaks = (best == highest).nonzero().squeeze(-1)
    order = best[peaks].argsort(descending=True, stable=True)[:keep]
    return [
        Candidate(float(defoci[peak]), vectors[int(which[peak])], float(phases[int(which[peak]), peak]), float(best[peak]))
        for peak in peaks[order].tolist()
    ]
