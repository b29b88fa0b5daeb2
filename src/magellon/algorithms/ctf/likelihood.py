"""The likelihood of a polar spectrum under a CTF, a smooth background and a smooth envelope.

Each polar bin is the mean of n exponentially distributed samples around E = background(k) + envelope(k) m(k, theta), where
m = -cos 2 chi is CTF² without its mean. Minus the log likelihood is the sum of n (log E + P / E) (Whittle 1953).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.ctf.records import CtfSearch, Microscope
from magellon.algorithms.ctf.search import USUAL_ASTIGMATISM
from magellon.algorithms.ctf.splines import fit_spline, solve_symmetric, spline_basis
from magellon.algorithms.spectrum.polar import PolarSpectrum

BACKGROUND_KNOTS = 14
ENVELOPE_KNOTS = 6
PARAMETERS = 4
SMALLEST = 0.05
"""The expected power never falls below this fraction of the smooth level."""


@dataclass(frozen=True)
class Likelihood:
    """What is measured and what is known. Double precision; shapes (rings, sectors) unless stated.

    Unknowns are the coefficients of the background, those of the envelope, and four parameters: mean defocus, astigmatism x
    and y (half of U - V, in the direction of twice the angle), in Å, and phase shift in radians.
    """

    power: Tensor
    """Relative to the smooth level."""
    weight: Tensor
    """Number of independent samples of each bin."""
    scale: Tensor
    """Derivative of chi with respect to defocus: pi lambda k²."""
    directions: Tensor
    """(2, 1 or rings, sectors): cos and sin of 2 theta."""
    fixed: Tensor
    """Part of chi that no parameter changes."""
    background_basis: Tensor
    """(rings, BACKGROUND_KNOTS)."""
    envelope_basis: Tensor
    """(rings, ENVELOPE_KNOTS)."""
    prior: Tensor
    """(ENVELOPE_KNOTS,) inverse variance around zero of the envelope's coefficients."""
    astigmatism_prior: float
    """Inverse variance around zero of either component of the astigmatism, 1/Å²."""
    free: Tensor
    """(4,) 1 for parameters to fit, 0 for those to keep."""
    bounds: Tensor
    """(2, 4) least and greatest values of the parameters."""


@dataclass(frozen=True)
class Point:
    """The likelihood at one place."""

    parameters: Tensor
    coefficients: Tensor
    """(BACKGROUND_KNOTS + ENVELOPE_KNOTS,)."""
    background: Tensor
    """(rings,)."""
    envelope: Tensor
    double_phase: Tensor
    """2 chi."""
    modulation: Tensor
    """-cos 2 chi."""
    expected: Tensor
    loss: float
    """Minus the log likelihood, and minus the log prior."""


def smooth_level(polar: PolarSpectrum) -> Tensor:
    """(rings,): the smooth course of the mean power of the rings."""
    count = polar.count.double().sum(dim=1).clamp(min=1)
    ring = (polar.power.double() * polar.count).sum(dim=1) / count
    basis = spline_basis(polar.ring_k.double(), BACKGROUND_KNOTS)
    return (basis @ fit_spline(basis, ring.clamp(min=1e-30).log(), count)).exp()


def make_likelihood(polar: PolarSpectrum, microscope: Microscope, search: CtfSearch | None, trust: Tensor | None) -> Likelihood:
    """The likelihood of a spectrum, with a prior on its astigmatism only.

    Args:
        search: which parameters to fit, and within which limits; None: none of them.
        trust: (rings,) weight of each ring, 0..1, relative to what counting noise gives it.
    """
    free, bounds = _limits(search)
    count = polar.count.double()
    k = polar.ring_k.double()
    k_squared = polar.k_squared.double()
    theta = polar.theta.double()
    aberration = math.pi / 2 * microscope.spherical_aberration * 1e7 * microscope.wavelength**3 * k_squared**2
    return Likelihood(
        power=polar.power.double() / smooth_level(polar)[:, None],
        weight=count if trust is None else count * trust[:, None],
        scale=math.pi * microscope.wavelength * k_squared,
        directions=torch.stack([torch.cos(2 * theta), torch.sin(2 * theta)]),
        fixed=math.asin(microscope.amplitude_contrast) - aberration,
        background_basis=spline_basis(k, BACKGROUND_KNOTS),
        envelope_basis=spline_basis(k, ENVELOPE_KNOTS),
        prior=torch.zeros(ENVELOPE_KNOTS, dtype=k.dtype, device=k.device),
        astigmatism_prior=1 / USUAL_ASTIGMATISM**2,
        free=torch.tensor(free, dtype=k.dtype, device=k.device),
        bounds=torch.tensor(bounds, dtype=k.dtype, device=k.device).T,
    )


def _limits(search: CtfSearch | None) -> tuple[list[float], list[tuple[float, float]]]:
    anywhere = (-math.inf, math.inf)
    if search is None:
        return [0.0] * PARAMETERS, [anywhere] * PARAMETERS
    reach = search.max_astigmatism / 2
    phase = (math.radians(search.min_phase_shift), math.radians(search.max_phase_shift)) if search.phase_shift else anywhere
    bounds = [(search.min_defocus, search.max_defocus), (-reach, reach), (-reach, reach), phase]
    return [1.0, float(reach > 0), float(reach > 0), float(search.phase_shift)], bounds


def start_point(problem: Likelihood, parameters: Tensor) -> Point:
    """Background and envelope by weighted least squares at given parameters."""
    modulation = -torch.cos(_double_phase(problem, parameters))
    pull = problem.weight * problem.power
    score = torch.cat([problem.background_basis.T @ pull.sum(dim=1), problem.envelope_basis.T @ (pull * modulation).sum(dim=1)])
    return evaluate(problem, parameters, solve_symmetric(_spline_blocks(problem, problem.weight, modulation), score))


def evaluate(problem: Likelihood, parameters: Tensor, coefficients: Tensor) -> Point:
    """The likelihood at a place, moved to within the bounds; negative coefficients of the envelope become zero.

    An envelope that changed its sign would shift the rings by half a period and make a wrong defocus look right.
    """
    knots = problem.background_basis.shape[1]
    parameters = torch.maximum(torch.minimum(parameters, problem.bounds[1]), problem.bounds[0])
    coefficients = torch.cat([coefficients[:knots], coefficients[knots:].clamp(min=0)])
    background = problem.background_basis @ coefficients[:knots]
    envelope = problem.envelope_basis @ coefficients[knots:]
    double_phase = _double_phase(problem, parameters)
    modulation = -torch.cos(double_phase)
    expected = (background[:, None] + envelope[:, None] * modulation).clamp(min=SMALLEST)
    loss = (problem.weight * (expected.log() + problem.power / expected)).sum(dim=1).sum()
    loss = loss + (problem.prior * coefficients[knots:] ** 2).sum() / 2
    loss = loss + problem.astigmatism_prior * (parameters[1:3] ** 2).sum() / 2
    return Point(parameters, coefficients, background, envelope, double_phase, modulation, expected, float(loss))


def normal_equations(problem: Likelihood, at: Point) -> tuple[Tensor, Tensor]:
    """Fisher information (n, n) and gradient of the log likelihood (n,) for all unknowns.

    What is held (parameters that are not free; envelope coefficients that are zero and would become negative) has a unit
    diagonal and no gradient.
    """
    weight = problem.weight / at.expected**2
    pull = weight * (problem.power - at.expected)
    slope = 2 * at.envelope[:, None] * torch.sin(at.double_phase)
    by_defocus = slope * problem.scale
    derivatives = torch.stack([by_defocus, by_defocus * problem.directions[0], by_defocus * problem.directions[1], slope])
    weighted = weight * derivatives
    cross = torch.cat(
        [
            problem.background_basis.T @ weighted.sum(dim=2).T,
            problem.envelope_basis.T @ (weighted * at.modulation).sum(dim=2).T,
        ]
    )
    inner = torch.stack([(weighted * derivative).sum(dim=2).sum(dim=1) for derivative in derivatives])
    restraint = problem.astigmatism_prior * torch.tensor([0.0, 1.0, 1.0, 0.0], dtype=inner.dtype, device=inner.device)
    inner = inner + torch.diag(restraint)
    information = torch.cat(
        [torch.cat([_spline_blocks(problem, weight, at.modulation), cross], dim=1), torch.cat([cross.T, inner], dim=1)]
    )
    knots = problem.background_basis.shape[1]
    envelope = at.coefficients[knots:]
    score = torch.cat(
        [
            problem.background_basis.T @ pull.sum(dim=1),
            problem.envelope_basis.T @ (pull * at.modulation).sum(dim=1) - problem.prior * envelope,
            (derivatives * pull).sum(dim=2).sum(dim=1) - restraint * at.parameters,
        ]
    )
    rising = (envelope > 0) | (score[knots:-PARAMETERS] > 0)
    keep = torch.cat([torch.ones_like(score[:knots]), rising.to(score), problem.free])
    return information * keep[:, None] * keep + torch.diag(1 - keep), score * keep


def _double_phase(problem: Likelihood, parameters: Tensor) -> Tensor:
    defocus = parameters[0] + parameters[1] * problem.directions[0] + parameters[2] * problem.directions[1]
    return 2 * (problem.scale * defocus + (problem.fixed + parameters[3]))


def _spline_blocks(problem: Likelihood, weight: Tensor, modulation: Tensor) -> Tensor:
    b, s = problem.background_basis, problem.envelope_basis
    weighted = weight * modulation
    plain, mixed, square = (moment.sum(dim=1)[:, None] for moment in (weight, weighted, weighted * modulation))
    across = b.T @ (mixed * s)
    corner = s.T @ (square * s) + torch.diag(problem.prior)
    return torch.cat([torch.cat([b.T @ (plain * b), across], dim=1), torch.cat([across.T, corner], dim=1)])
