"""Maximum-likelihood refinement of a CTF, with its errors.

Each polar bin is the mean of n exponentially distributed samples around E = background(k) + envelope(k) m(k, theta), where
m = -cos 2 chi is CTF² without its mean. Minus the log likelihood is the sum of n (log E + P / E) (Whittle 1953). Background and
envelope are splines, fitted together with defocus, astigmatism and phase shift by Fisher scoring.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from magellon.algorithms.ctf.records import Microscope
from magellon.algorithms.ctf.search import Candidate
from magellon.algorithms.ctf.splines import fit_spline, smooth, solve_symmetric, spline_basis
from magellon.algorithms.spectrum.polar import PolarSpectrum

KNOTS = 14
MAX_STEPS = 20
SMALLEST = 0.05
"""The expected power never falls below this fraction of the mean of its ring."""


@dataclass(frozen=True)
class Refinement:
    """A maximum of the likelihood. Double precision; shapes (rings, sectors) unless stated."""

    parameters: Tensor
    """(4,): mean defocus, astigmatism x, y (half of U - V), in Å; phase shift in radians."""
    covariance: Tensor
    """(4, 4) of the parameters; zero for a phase shift that was not fitted."""
    loss: float
    """Minus the log likelihood."""
    expected: Tensor
    """Expected power over the mean of the ring."""
    background: Tensor
    """(rings,)."""
    envelope: Tensor
    """(rings,)."""


@dataclass(frozen=True)
class _Problem:
    """What does not change during a refinement."""

    power: Tensor
    weight: Tensor
    """Number of independent samples of each bin."""
    scale: Tensor
    """Derivative of chi with respect to defocus: pi lambda k²."""
    directions: Tensor
    """(2, rings, sectors): cos and sin of 2 theta."""
    fixed: Tensor
    """Part of chi that no parameter changes."""
    basis: Tensor
    """(rings, KNOTS)."""
    free: tuple[bool, bool, bool, bool]


def refine_ctf(
    polar: PolarSpectrum,
    microscope: Microscope,
    start: Candidate,
    fit_phase: bool,
    fixed_model: bool = False,
    trust: Tensor | None = None,
) -> Refinement:
    """Refine from a start that is within about half a ring.

    Args:
        polar: rings within the resolution limits.
        fit_phase: whether the phase shift is a parameter.
        fixed_model: fit background and envelope only.
        trust: (rings,) weight of each ring, 0..1, relative to what counting noise gives it.
    """
    problem = _state(polar, microscope, (not fixed_model,) * 3 + (fit_phase and not fixed_model,))
    if trust is not None:
        problem = replace(problem, weight=problem.weight * trust[:, None])
    values = (start.defocus, *start.astigmatism, math.radians(start.phase_shift))
    parameters = torch.tensor(values, dtype=torch.float64, device=polar.power.device)
    coefficients = _linear_start(problem, parameters)
    loss = _loss(problem, _expected(problem, parameters, coefficients))
    damping = 1e-3
    for _ in range(MAX_STEPS):
        information, score = _hold_at_zero(*_normal_equations(problem, parameters, coefficients), coefficients)
        moved = False
        for _ in range(6):
            damped = information + damping * torch.diag(torch.diagonal(information))
            step = solve_symmetric(damped, score)
            trial_parameters = parameters + step[-4:]
            trial_coefficients = _not_negative(coefficients + step[:-4])
            trial = _loss(problem, _expected(problem, trial_parameters, trial_coefficients))
            if trial <= loss:
                moved = True
                break
            damping = max(damping, 1e-4) * 8
        if not moved:
            break
        gain = loss - trial
        parameters, coefficients, loss = trial_parameters, trial_coefficients, trial
        damping *= 0.1
        if gain < 1e-3:
            break
    return _result(problem, parameters, coefficients, loss)


def misfit_trust(polar: PolarSpectrum, fit: Refinement) -> Tensor:
    """(rings,), 0..1: how much of its statistical weight a ring deserves, seeing how far neighbouring rings miss the model.

    Particles and contamination give the spectrum a course that no smooth curve follows, mostly at low frequency, where there
    is the most signal. Their misfit counts as a variance in addition to counting noise.
    """
    count = polar.count.double()
    total = count.sum(dim=1).clamp(min=1)
    relative = polar.power.double() / smooth_level(polar)[:, None] / fit.expected - 1
    ring = (relative * count).sum(dim=1) / total
    noise = (relative**2 * count).sum(dim=1) / (count > 0).sum(dim=1).clamp(min=1) / total
    excess = smooth(ring**2 - noise, max(5, len(total) // 40)).clamp(min=0)
    return noise / (noise + excess)


def _state(polar: PolarSpectrum, microscope: Microscope, free: tuple[bool, ...]) -> _Problem:
    count = polar.count.double()
    power = polar.power.double()
    k_squared = polar.k_squared.double()
    theta = polar.theta.double()
    wavelength = microscope.wavelength
    aberration = math.pi / 2 * microscope.spherical_aberration * 1e7 * wavelength**3 * k_squared**2
    basis = spline_basis(polar.ring_k.double(), KNOTS)
    return _Problem(
        power=power / smooth_level(polar)[:, None],
        weight=count,
        scale=math.pi * wavelength * k_squared,
        directions=torch.stack([torch.cos(2 * theta), torch.sin(2 * theta)]),
        fixed=math.asin(microscope.amplitude_contrast) - aberration,
        basis=basis,
        free=(free[0], free[1], free[2], free[3]),
    )


def smooth_level(polar: PolarSpectrum) -> Tensor:
    """(rings,): the smooth course of the mean power of the rings."""
    count = polar.count.double().sum(dim=1).clamp(min=1)
    ring = (polar.power.double() * polar.count).sum(dim=1) / count
    basis = spline_basis(polar.ring_k.double(), KNOTS)
    return (basis @ fit_spline(basis, ring.clamp(min=1e-30).log(), count)).exp()


def _chi(problem: _Problem, parameters: Tensor) -> Tensor:
    defocus = parameters[0] + parameters[1] * problem.directions[0] + parameters[2] * problem.directions[1]
    return problem.scale * defocus + (problem.fixed + parameters[3])


def _linear_start(problem: _Problem, parameters: Tensor) -> Tensor:
    """Background and envelope by weighted least squares at given CTF parameters."""
    modulation = -torch.cos(2 * _chi(problem, parameters))
    weight = problem.weight
    matrix = _spline_blocks(problem, weight, modulation)
    vector = torch.cat([
        problem.basis.T @ (weight * problem.power).sum(dim=1),
        problem.basis.T @ (weight * modulation * problem.power).sum(dim=1),
    ])
    return _not_negative(solve_symmetric(matrix, vector))


def _not_negative(coefficients: Tensor) -> Tensor:
    """An envelope that changed sign would shift the rings by half a period and make a wrong defocus look right."""
    knots = len(coefficients) // 2
    return torch.cat([coefficients[:knots], coefficients[knots:].clamp(min=0)])


def _hold_at_zero(information: Tensor, score: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Take envelope coefficients out of the equations that are zero and would become negative."""
    keep = torch.ones_like(score)
    knots = len(coefficients) // 2
    keep[knots : 2 * knots] = ((coefficients[knots:] > 0) | (score[knots : 2 * knots] > 0)).to(keep)
    return information * keep[:, None] * keep + torch.diag(1 - keep), score * keep


def _spline_blocks(problem: _Problem, weight: Tensor, modulation: Tensor) -> Tensor:
    basis = problem.basis
    weighted = weight * modulation
    blocks = [basis.T @ (moment.sum(dim=1)[:, None] * basis) for moment in (weight, weighted, weighted * modulation)]
    return torch.cat([torch.cat([blocks[0], blocks[1]], dim=1), torch.cat([blocks[1], blocks[2]], dim=1)])


def _curves(problem: _Problem, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    knots = problem.basis.shape[1]
    return problem.basis @ coefficients[:knots], problem.basis @ coefficients[knots:]


def _expected(problem: _Problem, parameters: Tensor, coefficients: Tensor) -> Tensor:
    background, envelope = _curves(problem, coefficients)
    modulation = -torch.cos(2 * _chi(problem, parameters))
    return (background[:, None] + envelope[:, None] * modulation).clamp(min=SMALLEST)


def _loss(problem: _Problem, expected: Tensor) -> float:
    return float((problem.weight * (expected.log() + problem.power / expected)).sum(dim=1).sum())


def _normal_equations(problem: _Problem, parameters: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
    """Fisher information and gradient of the log likelihood; parameters held fixed get a unit diagonal and no gradient."""
    _, envelope = _curves(problem, coefficients)
    chi2 = 2 * _chi(problem, parameters)
    modulation = -torch.cos(chi2)
    expected = _expected(problem, parameters, coefficients)
    weight = problem.weight / expected**2
    residual = problem.power - expected
    slope = 2 * envelope[:, None] * torch.sin(chi2)
    by_defocus = slope * problem.scale
    zero = torch.zeros_like(slope)
    derivatives = (by_defocus, by_defocus * problem.directions[0], by_defocus * problem.directions[1], slope)
    derivatives = tuple(item if free else zero for item, free in zip(derivatives, problem.free, strict=True))
    stacked = torch.stack(derivatives)
    weighted = weight * stacked
    basis = problem.basis
    cross = torch.cat([basis.T @ weighted.sum(dim=2).T, basis.T @ (weighted * modulation).sum(dim=2).T])
    inner = (weighted[:, None] * stacked[None]).sum(dim=3).sum(dim=2)
    inner = inner + torch.diag(torch.tensor([0.0 if free else 1.0 for free in problem.free], dtype=inner.dtype, device=inner.device))
    information = torch.cat([
        torch.cat([_spline_blocks(problem, weight, modulation), cross], dim=1), torch.cat([cross.T, inner], dim=1)
    ])
    pull = weight * residual
    score = torch.cat([
        basis.T @ pull.sum(dim=1), basis.T @ (pull * modulation).sum(dim=1), (weighted * residual).sum(dim=2).sum(dim=1)
    ])
    return information, score


def _result(problem: _Problem, parameters: Tensor, coefficients: Tensor, loss: float) -> Refinement:
    information, _ = _hold_at_zero(*_normal_equations(problem, parameters, coefficients), coefficients)
    unit = torch.eye(len(information), dtype=information.dtype, device=information.device)[:, -4:]
    covariance = solve_symmetric(information, unit)[-4:]
    expected = _expected(problem, parameters, coefficients)
    residual = problem.power / expected - 1
    used = (problem.weight > 0).sum()
    dispersion = (problem.weight * residual**2).sum(dim=1).sum() / used
    free = torch.tensor(problem.free, dtype=torch.float64, device=covariance.device)
    covariance = covariance * dispersion.clamp(min=1e-6) * free[:, None] * free
    background, envelope = _curves(problem, coefficients)
    return Refinement(parameters, covariance, loss, expected, background, envelope)
