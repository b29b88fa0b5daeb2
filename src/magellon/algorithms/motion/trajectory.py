"""The smooth motion that the measured steps speak for.

Motion is a Gaussian process: velocity that persists over a few e/Å², large at the beginning of the exposure, small later, with
a jitter of single frames in the global track; local motion is a polynomial in space whose coefficients move likewise. What
the patches measure has known precision, so that the most probable motion is one linear solution; the strengths of jitter, drift
and local motion are those under which the measurements are most probable (evidence), which shrinks local motion to
nothing where the movie does not show any. (Compare Zivanov, Nakane & Scheres 2019, doi:10.1107/S205225251801463X.)
"""

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from magellon.algorithms.motion.field import LOCAL_TERMS

_CHOICES = {
    "local": (0.01, 0.3, 1.0, 2.5),
    "dispersion": (1.0, 1.5, 2.5, 4.0),
    "jitter": (0.03, 0.1, 0.2, 0.4, 1.0),
    "drift": (0.3, 1.0, 3.0),
}
_LOCAL_SPREAD = (1.5, 1.5, 0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.4)  # Å at the end of 50 e/Å², terms of order 1, 2, 3
_PERSISTENCE = 6.0  # e/Å²
_TIME_TERMS = 10


@dataclass(frozen=True)
class Trajectory:
    """Motion in Å, zero in the first frame."""

    track: Tensor
    """(frames, 2)."""
    local: Tensor
    """(frames, 9, 2): coefficients of `local_basis`."""


class MotionPrior:
    """Covariances in time."""

    def __init__(self, exposures: Tensor) -> None:
        """exposures: (frames,), e/Å² at the middle of each frame."""
        velocity = _velocity_covariance(exposures)
        self.drift = velocity
        """(frames, frames): of the position, Å², zero in the first frame."""
        scale = max(float(velocity[-1, -1]), 1e-12)
        values, vectors = torch.linalg.eigh(velocity / scale)
        terms = min(_TIME_TERMS, max(1, len(exposures) - 1))
        self.local = vectors[:, -terms:] * values[-terms:].clamp(min=0).sqrt()
        """(frames, terms): square root of the covariance of a local coefficient, 1 at the end."""
        self.local = self.local - self.local[:1]


def _velocity_covariance(exposures: Tensor) -> Tensor:
    start = exposures[0]
    steps = exposures.diff()
    middle = (exposures[1:] + exposures[:-1]) / 2
    # Real movies: about 1.6 Å per e/Å² in the first frames, 0.3 later.
    speed = (0.35 + 1.5 * torch.exp(-(middle - start) / 3.0)) * steps
    correlation = torch.exp(-(middle[:, None] - middle[None]).abs() / _PERSISTENCE)
    steps_covariance = speed[:, None] * speed * correlation
    summed = torch.zeros(len(exposures), len(exposures), dtype=torch.float64)
    summed[1:, 1:] = steps_covariance.cumsum(0).cumsum(1)
    return summed


def fit_trajectory(
    measured: Tensor,
    patch_information: Tensor,
    frame_information: Tensor,
    basis: Tensor,
    prior: MotionPrior,
    with_local: bool,
    tune: bool,
) -> Trajectory:
    """The most probable motion.

    Args:
        measured: (frames, patches, 2), Å: displacement each patch asks for; an offset per patch is free.
        patch_information: (patches,) and frame_information: (frames,): their product is the precision, 1/Å².
        basis: (patches, 9): local functions at the patches.
        prior: of this movie's frames.
        with_local: False leaves local motion at zero.
        tune: choose the strengths by the evidence, one after the other, twice.
    """
    problem = _Problem(measured, patch_information, frame_information, basis, prior)
    strengths = Strengths() if with_local else Strengths(local=0.0)
    solution = problem.solve(strengths)
    for _ in range(2 if tune else 0):
        for name in (field.name for field in fields(Strengths)):
            if getattr(strengths, name) == 0:
                continue
            for value in _CHOICES[name]:
                trial = problem.solve(replace(strengths, **{name: value}))
                if trial.evidence > solution.evidence:
                    strengths, solution = replace(strengths, **{name: value}), trial
    return Trajectory(solution.track - solution.track[:1], solution.local - solution.local[:1])


@dataclass(frozen=True)
class Strengths:
    """What the evidence decides."""

    local: float = 1.0
    """Of local motion, relative to the prior; 0: none."""
    dispersion: float = 1.5
    """Variance of the measurements relative to what their curvature promises."""
    jitter: float = 0.2
    """Å."""
    drift: float = 1.0
    """Relative to the prior."""


@dataclass(frozen=True)
class _Solution:
    evidence: float
    track: Tensor
    local: Tensor


class _Problem:
    """Normal equations that do not depend on the strengths."""

    def __init__(
        self, measured: Tensor, patch_information: Tensor, frame_information: Tensor, basis: Tensor, prior: MotionPrior
    ) -> None:
        self.frames, self.patches = measured.shape[:2]
        a = frame_information
        # A free offset per patch: only differences between frames count.
        projector = torch.diag(a) - torch.outer(a, a) / a.sum()
        functions = torch.cat([torch.ones(self.patches, 1, dtype=torch.float64), basis], dim=1)
        weighted = functions * patch_information[:, None]
        gram = functions.T @ weighted
        time = prior.local
        self.prior = prior
        cross = torch.kron(gram[:1, 1:], projector @ time)
        inner = torch.kron(gram[1:, 1:].contiguous(), time.T @ projector @ time)
        data = projector * gram[0, 0]
        self.data = torch.cat([torch.cat([data, cross], dim=1), torch.cat([cross.T, inner], dim=1)])
        moments = torch.einsum("fg,pj,gpc->jfc", projector, weighted, measured)
        self.right = torch.cat([moments[0], torch.einsum("ft,jfc->jtc", time, moments[1:]).flatten(0, 1)])
        self.spread = torch.tensor(_LOCAL_SPREAD, dtype=torch.float64).repeat_interleave(time.shape[1])
        difference = torch.einsum("fg,gpc->fpc", projector, measured)
        self.energy = float((difference * measured * patch_information[:, None]).sum())
        self.degrees = (self.frames - 1) * self.patches

    def solve(self, strengths: Strengths) -> _Solution:
        """Most probable motion and log evidence (up to a constant) for given strengths."""
        terms = self.prior.local.shape[1] if strengths.local > 0 else 0
        size = self.frames + LOCAL_TERMS * terms
        drift = self.prior.drift * strengths.drift**2
        covariance = drift + torch.eye(self.frames, dtype=torch.float64) * strengths.jitter**2
        precision = self.data[:size, :size] / strengths.dispersion
        precision[: self.frames, : self.frames] += torch.linalg.inv(covariance)
        spread = self.spread[: size - self.frames] * strengths.local
        precision.diagonal()[self.frames :] += spread**-2
        factor = torch.linalg.cholesky(precision)
        right = self.right[:size] / strengths.dispersion
        solution = torch.cholesky_solve(right, factor)
        log_determinants = factor.diagonal().log().sum() + spread.log().sum()
        log_determinants += torch.linalg.cholesky(covariance).diagonal().log().sum()
        fit = float((right * solution).sum()) - self.energy / strengths.dispersion
        # Both axes share the matrices: each determinant counts twice.
        evidence = 0.5 * fit - 2 * float(log_determinants) - self.degrees * math.log(strengths.dispersion)
        local = torch.zeros(self.frames, LOCAL_TERMS, 2, dtype=torch.float64)
        if terms:
            local = torch.einsum("ft,jtc->fjc", self.prior.local, solution[self.frames :].view(LOCAL_TERMS, terms, 2))
        return _Solution(evidence, solution[: self.frames], local)
