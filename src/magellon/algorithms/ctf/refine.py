"""Maximum-likelihood refinement of a CTF, with its errors."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from magellon.algorithms.ctf.likelihood import (
    PARAMETERS,
    Likelihood,
    Point,
    evaluate,
    make_likelihood,
    normal_equations,
    smooth_level,
    start_point,
)
from magellon.algorithms.ctf.records import CtfSearch, Microscope
from magellon.algorithms.ctf.search import Candidate
from magellon.algorithms.ctf.splines import smooth, solve_symmetric
from magellon.algorithms.spectrum.polar import PolarSpectrum

MAX_STEPS = 20
ENOUGH = 0.1
"""Gain in log likelihood below which the refinement ends."""
SIGNIFICANT = 2.0
"""Variances that the square of an envelope coefficient must exceed not to be noise."""
CORRELATED_RINGS = 8.0
"""Neighbouring rings that miss the model alike, so that more of them do not average the misfit away."""


@dataclass(frozen=True)
class Refinement:
    """A maximum of the likelihood. Double precision; shapes (rings, sectors) unless stated."""

    parameters: Tensor
    """(4,): mean defocus, astigmatism x, y (half of U - V), in Å; phase shift in radians."""
    covariance: Tensor
    """(4, 4) of the parameters; zero for what was not fitted."""
    loss: float
    """Minus the log likelihood."""
    expected: Tensor
    """Expected power over the smooth level."""
    background: Tensor
    """(rings,)."""
    envelope: Tensor
    """(rings,)."""
    prior: Tensor
    """Inverse variances of the envelope's coefficients around zero."""


def refine_ctf(
    polar: PolarSpectrum,
    microscope: Microscope,
    start: Candidate,
    search: CtfSearch | None,
    trust: Tensor | None = None,
    prior: Tensor | None = None,
) -> Refinement:
    """Refine from a start that is within about half a ring.

    The envelope is fitted twice: what of it is no more than noise the first time is then held near zero. Otherwise rings
    that are not there would pull at the defocus and pretend to an accuracy that the rings that are there do not have.

    Args:
        polar: rings within the resolution limits.
        search: which parameters to fit, and within which limits; None: only background and envelope.
        trust: (rings,) weight of each ring, 0..1, relative to what counting noise gives it.
        prior: of an earlier refinement; then the envelope is fitted once.
    """
    problem = make_likelihood(polar, microscope, search, trust)
    values = (start.defocus, *start.astigmatism, math.radians(start.phase_shift))
    parameters = torch.tensor(values, dtype=torch.float64, device=polar.power.device)
    if prior is None:
        point = _climb(problem, start_point(problem, parameters))
        parameters, prior = point.parameters, _envelope_prior(problem, point)
    problem = replace(problem, prior=prior)
    point = _climb(problem, start_point(problem, parameters))
    return _result(problem, point, polar.count.double())


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
    width = max(5, len(total) // 40)
    chance = 2 * math.sqrt(2 / (2 * width + 1))
    excess = (smooth(ring**2 / noise.clamp(min=1e-30), width) - 1 - chance).clamp(min=0)
    return 1 / (1 + CORRELATED_RINGS * excess)


def _climb(problem: Likelihood, point: Point) -> Point:
    """Fisher scoring with Levenberg's damping."""
    damping = 1e-3
    for _ in range(MAX_STEPS):
        information, score = normal_equations(problem, point)
        for _ in range(6):
            damped = information + damping * torch.diag(torch.diagonal(information))
            step = solve_symmetric(damped, score)
            trial = evaluate(problem, point.parameters + step[-PARAMETERS:], point.coefficients + step[:-PARAMETERS])
            if trial.loss <= point.loss:
                break
            damping = max(damping, 1e-4) * 8
        else:
            return point
        gain = point.loss - trial.loss
        point = trial
        damping *= 0.1
        if gain < ENOUGH:
            break
    return point


def _envelope_prior(problem: Likelihood, point: Point) -> Tensor:
    """Inverse variances for the envelope's coefficients, from their own squares less those of noise (MacKay 1992)."""
    information, _ = normal_equations(problem, point)
    knots = problem.background_basis.shape[1]
    unit = torch.eye(len(information), dtype=information.dtype, device=information.device)[:, knots:-PARAMETERS]
    variance = torch.diagonal(solve_symmetric(information, unit)[knots:-PARAMETERS])
    excess = point.coefficients[knots:] ** 2 - SIGNIFICANT * variance
    return 1 / torch.maximum(excess, 1e-3 * variance)


def _result(problem: Likelihood, point: Point, count: Tensor) -> Refinement:
    information, _ = normal_equations(problem, point)
    unit = torch.eye(len(information), dtype=information.dtype, device=information.device)[:, -PARAMETERS:]
    covariance = solve_symmetric(information, unit)[-PARAMETERS:]
    residual = problem.power / point.expected - 1
    dispersion = (count * residual**2).sum(dim=1).sum() / (count > 0).sum()
    covariance = covariance * dispersion * problem.free[:, None] * problem.free
    return Refinement(point.parameters, covariance, point.loss, point.expected, point.background, point.envelope, problem.prior)
