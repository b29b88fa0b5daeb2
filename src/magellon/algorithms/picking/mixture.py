"""Where to stop picking: a model of what scores noise gives and what scores particles give.

The candidates of a score map are its local maxima. Maxima of noise have a known shape of distribution (`NoisePeaks`), only
its scale is not known; particles form a second group above it. Both are fitted to the candidates of the micrograph at hand,
and the threshold is where the expected F1 of what lies above is greatest. When noise alone explains the candidates, the
threshold is where noise would give less than one maximum in the whole micrograph.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

EVIDENCE = 20.0
"""Log-likelihood that the second group must gain. Noise alone gains up to 17, as its maxima are not quite normal and several
filters and scales are tried; a few clear or many weak particles gain far more."""
MISFIT = 0.07
"""Log-likelihood that it must gain for each candidate: of thousands of noise's maxima, which are not normal, each gains up to
0.05; where there are particles each candidate gains 0.25 at least, mostly over 1. Few particles on a large field may gain less:
of them the clear ones are found, above the reach of noise."""
ITERATIONS = 40
LOW_SHARE = 0.3
SCALE_STEP = 1.3
USUAL_SCALE = 1.15
SCALE_DOUBT = 0.5
"""Noise stronger than this, by this factor (natural logarithm), costs half a unit of log-likelihood a candidate: in a crowd,
particles look like a strong noise."""
LEAST_SCALE = 0.7
"""Of the noise in the score map, relative to white noise of the field's grain: real noise is hardly bluer than white."""
FLOOR_SHARE = 0.8
"""Of the value that noise reaches once in an empty micrograph: no threshold lies below."""
FREEDOM = 6.0
"""Of the t distribution by which the particles' group is fitted: a few contaminations among them hardly count."""


@dataclass(frozen=True)
class NoisePeaks:
    """Maxima of noise of unit standard deviation under the same filter and the same suppression.

    Attributes:
        mean, spread: of their values.
        low: the value that LOW_SHARE of them do not reach.
        highest: the value that one maximum of a whole empty micrograph exceeds on average.
    """

    mean: float
    spread: float
    low: float
    highest: float


@dataclass(frozen=True)
class ScoreModel:
    """The two groups fitted to the candidates of one micrograph.

    Attributes:
        noise_mean, noise_spread: of the maxima that are no particles.
        particle_mean, particle_spread: of the particles; meaningless when `particles` is 0.
        particles: share of the candidates, 0..1.
        gain: log-likelihood gained over noise alone.
        threshold: the score above which candidates are picked.
    """

    noise_mean: float
    noise_spread: float
    particle_mean: float
    particle_spread: float
    particles: float
    gain: float
    threshold: float

    def probability(self, scores: Tensor) -> Tensor:
        """Of being a particle, for each score; rises with the score."""
        if self.particles == 0:
            return torch.zeros_like(scores)
        numbers = (self.noise_mean, self.noise_spread, self.particle_mean, self.particle_spread, self.particles)
        return _responsibility(scores, *(torch.tensor(number, dtype=scores.dtype) for number in numbers))


def measure_noise_peaks(values: Tensor, area: float = 1.0) -> NoisePeaks:
    """The distribution of the maxima found in a map of pure noise of unit standard deviation.

    Args:
        values: (n,) float64.
        area: of the micrograph, relative to that of the map.
    """
    if values.numel() < 10:
        return NoisePeaks(1.5, 0.8, 1.1, 3.5)
    ordered = torch.sort(values).values
    count = ordered.numel()
    mean = float(ordered.cumsum(0)[-1]) / count
    spread = math.sqrt(float(((ordered - mean) ** 2).cumsum(0)[-1]) / count)
    # One extreme value alone is noisy: extrapolate from the upper tail, which is close to exponential.
    upper = ordered[int(0.9 * count)]
    tail = ordered[int(0.9 * count) :] - upper
    highest = float(upper + tail.cumsum(0)[-1] / tail.numel() * math.log(max(0.1 * count * area, 1.0)))
    return NoisePeaks(mean, spread, float(ordered[int(LOW_SHARE * count)]), highest)


def fit_scores(values: Tensor, troughs: Tensor, noise: NoisePeaks) -> ScoreModel:
    """Fit both groups to the candidates of a micrograph.

    In a crowd the noise hardly shows, so that its scale cannot be read off; a range of scales is tried, and the likeliest of
    all explanations stands.

    Args:
        values: (n,) float64, the candidates' scores.
        troughs: (m,) float64, the depths of the local minima: noise is as often bright as dark, and no particle is bright.
        noise: what an empty micrograph would give, up to its scale.
    """
    largest = _noise_scale(values, troughs, noise)
    if values.numel() < 4:
        return _noise_alone(noise, largest)
    steps = math.ceil(math.log(largest / LEAST_SCALE) / math.log(SCALE_STEP))
    scales = largest / SCALE_STEP ** torch.arange(steps + 1, dtype=torch.float64, device=values.device)
    belief = -0.5 * values.numel() * ((torch.log(scales / USUAL_SCALE) / SCALE_DOUBT).clamp(min=0)) ** 2
    alone = belief + _log_normal(values, noise.mean * scales[:, None], noise.spread * scales[:, None]).cumsum(-1)[:, -1]
    best = float(scales[alone.argmax()])
    reached = scales * noise.highest < values.max()
    if not bool(reached.any()):
        return _noise_alone(noise, best)
    scales = scales[reached]
    groups, likelihoods = _expectation_maximisation(values, noise, scales)
    likelihoods = likelihoods + belief[reached]
    chosen = int(likelihoods.argmax())
    gain = float(likelihoods[chosen] - alone.max())
    if gain < max(EVIDENCE, MISFIT * values.numel()):
        return _noise_alone(noise, best)
    mean0, spread0, mean1, spread1, share = groups[:, chosen].tolist()
    model = ScoreModel(mean0, spread0, mean1, spread1, share, gain=gain, threshold=0.0)
    least = FLOOR_SHARE * float(scales[chosen]) * noise.highest
    return replace(model, threshold=max(_best_f1(values, model.probability(values)), least))


def _noise_alone(noise: NoisePeaks, scale: float) -> ScoreModel:
    return ScoreModel(scale * noise.mean, scale * noise.spread, 0.0, 1.0, 0.0, 0.0, threshold=1.15 * scale * noise.highest)


def _noise_scale(values: Tensor, troughs: Tensor, noise: NoisePeaks) -> float:
    """Standard deviation of the map's noise: the smaller of what the lower maxima and the shallower minima say.

    Particles raise maxima and, through the bright halos of the filter and the CTF, also deepen minima; their lower parts
    stay those of the noise longest.
    """
    if noise.low <= 0:
        return 1.0
    sides = [torch.sort(side).values for side in (values, troughs) if side.numel() >= 4]
    guesses = [float(side[int(LOW_SHARE * side.numel())]) / noise.low for side in sides]
    return max([LEAST_SCALE, *([min(guesses)] if guesses else [])])


def _expectation_maximisation(values: Tensor, noise: NoisePeaks, scales: Tensor) -> tuple[Tensor, Tensor]:
    """Two normal groups, the upper one started at the candidates beyond the reach of noise; its mean stays there.

    Args:
        scales: (s,), of the noise's group at the start; each is a fit of its own.

    Returns:
        (5, s): mean and spread of the noise, mean and spread of the particles, share of the particles; and (s,) the
        log-likelihoods.
    """
    mean0, spread0, reach = (scales[:, None] * number for number in (noise.mean, noise.spread, noise.highest))
    least = 0.75 * spread0
    above = values > reach
    count = above.sum(-1, keepdim=True)
    mean1 = torch.where(above, values, torch.nan).nanmedian(dim=-1, keepdim=True).values
    spread1 = 1.4826 * torch.where(above, (values - mean1).abs(), torch.nan).nanmedian(dim=-1, keepdim=True).values
    spread1 = torch.maximum(spread1, least)
    share = (count / values.numel()).clamp(1e-3, 0.999)
    for _ in range(ITERATIONS):
        weight = _responsibility(values, mean0, spread0, mean1, spread1, share)
        trust = (FREEDOM + 1) / (FREEDOM + ((values - mean1) / spread1) ** 2)
        mean0, spread0 = _weighted_moments(values, 1 - weight, 1 - weight, least)
        mean1, spread1 = _weighted_moments(values, weight * trust, weight, least)
        mean1 = torch.maximum(mean1, reach)
        share = (_total(weight) / values.numel()).clamp(1e-4, 1 - 1e-4)
    likelihood = torch.logaddexp(
        torch.log(1 - share) + _log_normal(values, mean0, spread0), torch.log(share) + _log_normal(values, mean1, spread1)
    )
    return torch.cat([mean0, spread0, mean1, spread1, share], dim=-1).T, _total(likelihood)[:, 0]


def _responsibility(values: Tensor, mean0: Tensor, spread0: Tensor, mean1: Tensor, spread1: Tensor, share: Tensor) -> Tensor:
    """Probability of the upper group; 1 above its mean and 0 below the lower group's."""
    log0 = torch.log(1 - share) + _log_normal(values, mean0, spread0)
    log1 = torch.log(share) + _log_normal(values, mean1, spread1)
    weight = torch.sigmoid(log1 - log0)
    weight = torch.where(values > mean1, torch.ones_like(weight), weight)
    return torch.where(values < mean0, torch.zeros_like(weight), weight)


def _weighted_moments(values: Tensor, weights: Tensor, counts: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread, the latter at least `least`; `counts` are the weights before distrust of outliers."""
    mean = _total(weights * values) / _total(weights).clamp(min=1e-9)
    variance = _total(weights * (values - mean) ** 2) / _total(counts).clamp(min=1e-9)
    return mean, torch.maximum(torch.sqrt(variance), least)


def _total(values: Tensor) -> Tensor:
    """Sum along the last axis, in a fixed order: (..., 1)."""
    return values.cumsum(-1)[..., -1:]


def _log_normal(values: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    return -0.5 * ((values - mean) / spread) ** 2 - torch.log(spread) - 0.5 * math.log(2 * math.pi)


def _best_f1(values: Tensor, probability: Tensor) -> float:
    """The score at which the expected F1 = 2 true / (picked + all particles) of what lies above is greatest."""
    order = torch.sort(values, descending=True, stable=True).indices
    found = probability[order].cumsum(0)
    picked = torch.arange(1, values.numel() + 1, dtype=torch.float64, device=values.device)
    best = int(torch.argmax(2 * found / (picked + found[-1])))
    return float(values[order][best])
