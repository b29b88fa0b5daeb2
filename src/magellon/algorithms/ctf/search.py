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
SECTORS = 18
PHASE_STEP = 0.5
"""Radians of twice the CTF's phase, at the highest frequency, between two defocus values."""
ASTIGMATISM_STEP = 150.0
"""Å between two astigmatism vectors (half of U - V); more where the astigmatism is large."""
PHASE_SHIFT_STEP = 10.0
"""Degrees."""
USUAL_ASTIGMATISM = 300.0
"""Å: standard deviation of either component of the astigmatism (half of U - V) before anything is measured."""
DOUBT = 0.5
"""Part of the rings' variance that may be something else than rings."""
FAINTEST = 0.1
"""Variance of the rings, in units of that of noise, that is expected where none can be seen."""


@dataclass(frozen=True)
class Candidate:
    """A place to start the refinement. Lengths in Å, `phase_shift` in degrees."""

    defocus: float
    astigmatism: tuple[float, float]
    """(x, y): half of U - V, in the direction of twice the angle."""
    phase_shift: float
    score: float
    """In standard deviations of noise."""


def search_ctf(polar: PolarSpectrum, microscope: Microscope, search: CtfSearch, keep: int = 12) -> list[Candidate]:
    """The best candidates that differ in defocus, best first.

    Args:
        polar: rings within the resolution limits of the search.
    """
    reach = search.max_astigmatism / 2
    highest = float(polar.ring_k[-1])
    step = PHASE_STEP / (2 * math.pi * microscope.wavelength * highest**2)
    lowest = max(search.min_defocus - reach, step)
    count = math.ceil((search.max_defocus + reach - lowest) / step) + 1
    table = _correlations(polar, microscope, lowest, step, count)
    defoci = lowest + step * torch.arange(count, dtype=torch.float64, device=table.device)
    inside = ((defoci >= search.min_defocus) & (defoci <= search.max_defocus)).nonzero().squeeze(-1)
    norms = _norms(polar, microscope, defoci[inside])
    vectors = _astigmatism_grid(reach)
    offsets = torch.tensor(vectors, dtype=torch.float64, device=table.device) @ _sector_directions(table) / step
    first = (int(inside[0]) + offsets.round().long()).clamp(0, count - len(inside))
    values = torch.zeros(len(vectors), len(inside), dtype=table.dtype, device=table.device)
    for sector, row in enumerate(table):
        values += row.unfold(0, len(inside), 1).index_select(0, first[:, sector])
    scores, phases = _score_phase(values, norms, search)
    scores = restrain(scores, torch.tensor(vectors, dtype=scores.dtype, device=scores.device)[:, None])
    best, which = scores.max(dim=0)
    return _separate_peaks(best, which, phases, defoci[inside], vectors, keep)


def restrain(scores: Tensor, half_vectors: Tensor) -> Tensor:
    """Scores (...) lowered by how unusual an astigmatism (..., 2) is: the log likelihood is half the square of the score."""
    unusual = (half_vectors / USUAL_ASTIGMATISM).square().sum(dim=-1)
    return torch.where(scores > 0, scores.square() - unusual, -1.0).clamp(min=0).sqrt()


def rate_candidate(polar: PolarSpectrum, microscope: Microscope, candidate: Candidate) -> float:
    """The score of a candidate between the steps of the search."""
    background, amplitude, weight = ring_weights(polar)
    basis = spline_basis(polar.ring_k.double(), BACKGROUND_KNOTS)
    share = polar.count.double() / polar.count.double().sum(dim=1, keepdim=True).clamp(min=1)
    free = (polar.power.double() / background[:, None] - 1) * share
    theta = 2 * polar.theta.double()
    x, y = candidate.astigmatism
    defocus = candidate.defocus + x * torch.cos(theta) + y * torch.sin(theta)
    k_squared = polar.k_squared.double()
    phase = 2 * math.pi * microscope.wavelength * defocus * k_squared + _fixed_phase(k_squared, microscope)
    wave = -amplitude[:, None] * torch.cos(phase + 2 * math.radians(candidate.phase_shift))
    wave = wave - (basis @ fit_spline(basis, (wave * share).sum(dim=1), weight))[:, None]
    correlation = float(((wave * free).sum(dim=1) * weight).sum())
    norm = float(((wave.square() * share).sum(dim=1) * weight).sum())
    score = torch.tensor(correlation / math.sqrt(max(norm, 1e-30)))
    return float(restrain(score, torch.tensor(candidate.astigmatism)))


def ring_weights(polar: PolarSpectrum) -> tuple[Tensor, Tensor, Tensor]:
    """What is known of the rings before any CTF is.

    Returns:
        The smooth background; the expected amplitude of the rings relative to it; the weight of each ring, the inverse of its
        variance, which counts a part of what rises above noise as misfit, so that no frequency dominates. All (rings,).
    """
    count = polar.count.double().sum(dim=1).clamp(min=1)
    radial = (polar.power.double() * polar.count).sum(dim=1) / count
    basis = spline_basis(polar.ring_k.double(), BACKGROUND_KNOTS)
    background = (basis @ fit_spline(basis, radial.clamp(min=1e-30).log(), count)).exp()
    noise = 1 / count
    variance = smooth((radial / background - 1) ** 2, max(5, len(count) // 16))
    signal = (variance - noise).clamp(min=0) + FAINTEST * noise
    return background, signal.sqrt(), 1 / (noise + DOUBT * signal)


def _fixed_phase(k_squared: Tensor, microscope: Microscope) -> Tensor:
    """The part of 2 chi that does not depend on defocus or phase shift."""
    aberration = math.pi * microscope.spherical_aberration * 1e7 * microscope.wavelength**3 * k_squared**2
    return 2 * math.asin(microscope.amplitude_contrast) - aberration


def _correlations(polar: PolarSpectrum, microscope: Microscope, lowest: float, step: float, count: int) -> Tensor:
    """Sum of background-free power times exp(2 i chi) for each sector and defocus: (SECTORS, count), complex64.

    A defocus is written as a coarse and a fine part, so that the exponentials are products of two small tables.
    """
    background, amplitude, weight = ring_weights(polar)
    basis = spline_basis(polar.ring_k.double(), BACKGROUND_KNOTS)
    share = polar.count.double() / polar.count.double().sum(dim=1, keepdim=True).clamp(min=1)
    free = (polar.power.double() / background[:, None] - 1) * share
    mean = free.sum(dim=1)
    free = free - share * (basis @ fit_spline(basis, mean, weight))[:, None]
    free = free.reshape(len(mean), SECTORS, -1).sum(dim=2)
    k_squared = polar.ring_k.double() ** 2
    phase = _fixed_phase(k_squared, microscope)
    data = (free * (weight * amplitude)[:, None]).T * torch.polar(torch.ones_like(phase), phase)
    per_angstrom = 2 * math.pi * microscope.wavelength * k_squared
    fine = math.ceil(math.sqrt(count))
    coarse = math.ceil(count / fine)
    steps = torch.arange(max(fine, coarse), dtype=torch.float64, device=phase.device)[:, None]
    fine_waves = _waves(steps[:fine] * step * per_angstrom)
    coarse_waves = _waves((lowest + steps[:coarse] * (fine * step)) * per_angstrom)
    products = coarse_waves[:, None, :] * data.to(torch.complex64)[None]
    table = products.reshape(coarse * SECTORS, -1) @ fine_waves.T
    return table.reshape(coarse, SECTORS, fine).permute(1, 0, 2).reshape(SECTORS, coarse * fine)[:, :count].contiguous()


def _waves(phase: Tensor) -> Tensor:
    turns = torch.remainder(phase, 2 * math.pi).float()
    return torch.polar(torch.ones_like(turns), turns)


def _norms(polar: PolarSpectrum, microscope: Microscope, defoci: Tensor) -> Tensor:
    """(3, defocus): squared norms of the cosine and sine templates without their smooth part, and their product."""
    _, amplitude, weight = ring_weights(polar)
    k_squared = (polar.ring_k.double() ** 2)[:, None]
    nodes = torch.logspace(math.log10(float(defoci[0])), math.log10(float(defoci[-1])), 96, dtype=torch.float64)
    nodes = nodes.to(defoci.device)
    angle = 2 * math.pi * microscope.wavelength * nodes * k_squared + _fixed_phase(k_squared, microscope)
    basis = spline_basis(polar.ring_k.double(), BACKGROUND_KNOTS)
    weighted = basis * weight[:, None]
    normal = weighted.T @ basis
    templates = []
    for wave in (torch.cos(angle), torch.sin(angle)):
        template = amplitude[:, None] * wave
        templates.append(template - basis @ solve_symmetric(normal, weighted.T @ template))
    cosine, sine = templates
    pairs = ((cosine, cosine), (sine, sine), (cosine, sine))
    gram = torch.stack([(weight[:, None] * a * b).sum(dim=0) for a, b in pairs])
    place = torch.searchsorted(nodes, defoci.contiguous()).clamp(1, len(nodes) - 1)
    part = ((defoci - nodes[place - 1]) / (nodes[place] - nodes[place - 1])).clamp(0, 1)
    return gram[:, place - 1] * (1 - part) + gram[:, place] * part


def _sector_directions(table: Tensor) -> Tensor:
    theta = (torch.arange(SECTORS, dtype=torch.float64, device=table.device) + 0.5) * (math.pi / SECTORS) - math.pi / 2
    return torch.stack([torch.cos(2 * theta), torch.sin(2 * theta)])


def _astigmatism_grid(reach: float) -> list[tuple[float, float]]:
    """Vectors on circles of growing radius."""
    vectors = [(0.0, 0.0)]
    radius = ASTIGMATISM_STEP
    while radius <= reach:
        spacing = ASTIGMATISM_STEP * max(1.0, radius / (4 * ASTIGMATISM_STEP))
        directions = max(6, round(2 * math.pi * radius / spacing))
        angles = [2 * math.pi * n / directions for n in range(directions)]
        vectors += [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]
        radius += spacing
    return vectors


def _score_phase(values: Tensor, norms: Tensor, search: CtfSearch) -> tuple[Tensor, Tensor]:
    """Normalised correlation with -cos(2 chi), and the phase shift (degrees) that makes it largest; as `values`."""
    low = search.min_phase_shift
    trial = [low]
    if search.phase_shift:
        steps = max(2, math.ceil((search.max_phase_shift - low) / PHASE_SHIFT_STEP))
        trial = [low + (search.max_phase_shift - low) * n / steps for n in range(steps + 1)]
    best = torch.full(values.shape, -torch.inf, dtype=torch.float32, device=values.device)
    phases = torch.zeros_like(best)
    for phase in trial:
        c, s = math.cos(2 * math.radians(phase)), math.sin(2 * math.radians(phase))
        norm = (c * c * norms[0] + s * s * norms[1] - 2 * c * s * norms[2]).clamp(min=1e-30).rsqrt().float()
        score = (s * values.imag - c * values.real) * norm
        phases = torch.where(score > best, phase, phases)
        best = torch.maximum(best, score)
    return best, phases


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
