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

from magellon.algorithms.motion.field import LOCAL_TERMS, grid_centres, local_basis
from magellon.algorithms.motion.patches import Measurement

_CHOICES = {
    "local": (0.03, 0.4, 0.8, 1.6, 3.2, 6.4),
    "smoothness": (700.0, 1400.0, 2800.0),
    "dispersion": (1.0, 1.5, 2.5, 4.0),
    "jitter": (0.05, 0.1, 0.2, 0.4, 1.0),
    "drift": (0.3, 1.0, 3.0),
}
_TIME_TERMS = 10


@dataclass(frozen=True)
class _Speed:
    """Standard deviation of the speed, Å per e/Å², which is higher in the beginning; exposures in e/Å²."""

    late: float
    early: float
    settling: float
    persistence: float


# As in published tracks of 24 movies of beta-galactosidase: all move fast at first, local motion settles within 6 e/Å².
_GLOBAL_SPEED = _Speed(late=0.3, early=0.5, settling=8.0, persistence=8.0)
_LOCAL_SPEED = _Speed(late=0.05, early=0.15, settling=6.0, persistence=12.0)


@dataclass(frozen=True)
class Trajectory:
    """Motion in Å, zero in the first frame."""

    track: Tensor
    """(frames, 2)."""
    local: Tensor
    """(frames, 9, 2): coefficients of `local_basis`."""


class MotionPrior:
    """Covariances in time and space."""

    def __init__(self, exposures: Tensor, extent: tuple[float, float]) -> None:
        """exposures: (frames,), e/Å² at the middle of each frame; extent: (height, width) of the field, Å."""
        self.drift = _drift_covariance(exposures, _GLOBAL_SPEED)
        """(frames, frames): of the position, Å², zero in the first frame."""
        local = _drift_covariance(exposures, _LOCAL_SPEED)
        values, vectors = torch.linalg.eigh(local / max(float(local[-1, -1]), 1e-12))
        terms = min(_TIME_TERMS, max(1, len(exposures) - 1))
        root = vectors[:, -terms:] * values[-terms:].clamp(min=0).sqrt()
        self.local = root - root[:1]
        """(frames, terms): square root of the covariance of a local coefficient, 1 at the end, 0 in the first frame."""
        self.space = {length: _spatial_covariance(extent, length) for length in _CHOICES["smoothness"]}
        """(9, 9) by distance: of the local coefficients at the end."""


def _drift_covariance(exposures: Tensor, speed: "_Speed") -> Tensor:
    """Of positions reached at a speed that changes slowly (Matérn covariance of order 3/2)."""
    middle = (exposures[1:] + exposures[:-1]) / 2
    steps = exposures.diff() * (speed.late + speed.early * torch.exp(-(middle - exposures[0]) / speed.settling))
    distance = math.sqrt(3) * (middle[:, None] - middle[None]).abs() / speed.persistence
    covariance = steps[:, None] * steps * (1 + distance) * torch.exp(-distance)
    summed = torch.zeros(len(exposures), len(exposures), dtype=torch.float64)
    summed[1:, 1:] = covariance.cumsum(0).cumsum(1)
    return summed


def _spatial_covariance(extent: tuple[float, float], length: float) -> Tensor:
    """Covariance of the coefficients of `local_basis` if local motion is a Gaussian process of unit variance over the field.

    Without the field's mean, which belongs to the global track.
    """
    points = grid_centres((100, 100), (12, 12)).reshape(-1, 2)
    place = points / 100 * torch.tensor(extent, dtype=torch.float64)
    covariance = torch.exp(-torch.cdist(place, place).square() / (2 * length**2))
    basis = torch.cat([torch.ones(len(points), 1, dtype=torch.float64), local_basis(points, (100, 100))], dim=1)
    project = torch.linalg.pinv(basis)[1:]
    projected: Tensor = project @ covariance @ project.T
    return projected + 1e-6 * torch.eye(LOCAL_TERMS, dtype=torch.float64)


def fit_trajectory(
    measurement: Measurement, present: Tensor, basis: Tensor, prior: MotionPrior, *, with_local: bool, tune: bool
) -> Trajectory:
    """The most probable motion.

    Args:
        measurement: derivatives at the present displacement.
        present: (frames, patches, 2), Å.
        basis: (patches, 9): local functions at the patches.
        prior: of this movie's frames.
        with_local: False leaves local motion at zero.
        tune: choose the strengths by the evidence, one after the other, twice.
    """
    problem = _Problem(measurement, present, basis, prior)
    strengths = Strengths() if with_local else Strengths(local=0.0)
    solution = problem.solve(strengths)
    for _ in range(2 if tune else 0):
        for name in (field.name for field in fields(Strengths)):
            if name in ("local", "smoothness") and not with_local:
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
    """Standard deviation of local motion at the end of the exposure, Å; 0: none."""
    smoothness: float = 1400.0
    """Distance over which local motion changes, Å."""
    dispersion: float = 1.5
    """Variance of the measurements relative to what their curvature promises."""
    jitter: float = 0.2
    """Å."""
    drift: float = 1.0
    """Relative to that of published tracks."""


@dataclass(frozen=True)
class _Solution:
    evidence: float
    track: Tensor
    local: Tensor


class _Problem:
    """Normal equations that do not depend on the strengths."""

    def __init__(self, measurement: Measurement, present: Tensor, basis: Tensor, prior: MotionPrior) -> None:
        self.frames, self.patches = present.shape[:2]
        information, coupling = measurement.information, measurement.coupling
        functions = torch.cat([torch.ones(self.patches, 1, dtype=torch.float64), basis], dim=1)
        gram = functions.T @ (functions * information[:, None])
        time = prior.local
        self.prior = prior
        cross = torch.kron(gram[:1, 1:], coupling @ time)
        inner = torch.kron(gram[1:, 1:].contiguous(), time.T @ coupling @ time)
        data = coupling * gram[0, 0]
        self.data = torch.cat([torch.cat([data, cross], dim=1), torch.cat([cross.T, inner], dim=1)])
        # The quadratic form about the present displacement, as if displacements had been measured.
        pull = measurement.gradient + torch.einsum("fg,gpc,p->fpc", coupling, present, information)
        moments = torch.einsum("pj,fpc->jfc", functions, pull)
        self.right = torch.cat([moments[0], torch.einsum("ft,jfc->jtc", time, moments[1:]).flatten(0, 1)])
        step = torch.einsum("fg,gpc,p->fpc", torch.linalg.pinv(coupling, hermitian=True), measurement.gradient, 1 / information)
        self.energy = float(((present + step) * pull).sum())
        self.degrees = (self.frames - 1) * self.patches

    def solve(self, strengths: Strengths) -> _Solution:
        """Most probable motion and log evidence (up to a constant) for given strengths."""
        terms = self.prior.local.shape[1] if strengths.local > 0 else 0
        size = self.frames + LOCAL_TERMS * terms
        drift = self.prior.drift * strengths.drift**2
        covariance = drift + torch.eye(self.frames, dtype=torch.float64) * strengths.jitter**2
        precision = self.data[:size, :size] / strengths.dispersion
        precision[: self.frames, : self.frames] += torch.linalg.inv(covariance)
        log_determinants = torch.linalg.cholesky(covariance).diagonal().log().sum()
        if terms:
            space = self.prior.space[strengths.smoothness] * strengths.local**2
            identity = torch.eye(terms, dtype=torch.float64)
            precision[self.frames :, self.frames :] += torch.kron(torch.linalg.inv(space).contiguous(), identity)
            log_determinants += terms * torch.linalg.cholesky(space).diagonal().log().sum()
        factor = torch.linalg.cholesky(precision)
        right = self.right[:size] / strengths.dispersion
        solution = torch.cholesky_solve(right, factor)
        log_determinants += factor.diagonal().log().sum()
        fit = float((right * solution).sum()) - self.energy / strengths.dispersion
        # Both axes share the matrices: each determinant counts twice.
        evidence = 0.5 * fit - 2 * float(log_determinants) - self.degrees * math.log(strengths.dispersion)
        local = torch.zeros(self.frames, LOCAL_TERMS, 2, dtype=torch.float64)
        if terms:
            local = torch.einsum("ft,jtc->fjc", self.prior.local, solution[self.frames :].view(LOCAL_TERMS, terms, 2))
        return _Solution(evidence, solution[: self.frames], local)
