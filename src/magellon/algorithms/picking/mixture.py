"""Where to stop picking: a model of what scores noise gives and what scores particles give.

The candidates of a score map are its local maxima. Maxima of noise have a known shape of distribution (`NoisePeaks`), only
its scale is not known; particles form a second group above it. Both are fitted to the candidates of the micrograph at hand,
and the threshold is where the expected F1 of what lies above is greatest. When noise alone explains the candidates, the
threshold is where noise would give less than one maximum in the whole micrograph.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

EVIDENCE = 6.0
"""Log-likelihood that the second group must gain: its three parameters by the Bayesian information criterion."""
ITERATIONS = 60


@dataclass(frozen=True)
class NoisePeaks:
    """Maxima of noise of unit standard deviation under the same filter and the same suppression.

    Attributes:
        mean, spread: of their values.
        highest: the value that one maximum of a whole empty micrograph exceeds on average.
        count: how many an empty micrograph has.
    """

    mean: float
    spread: float
    highest: float
    count: int


@dataclass(frozen=True)
class ScoreModel:
    """The two groups fitted to the candidates of one micrograph.

    Attributes:
        noise_mean, noise_spread: of the maxima that are no particles.
        particle_mean, particle_spread: of the particles; meaningless when `particles` is 0.
        particles: share of the candidates, 0..1.
        threshold: the score above which candidates are picked.
    """

    noise_mean: float
    noise_spread: float
    particle_mean: float
    particle_spread: float
    particles: float
    threshold: float

    def probability(self, scores: Tensor) -> Tensor:
        """Of being a particle, for each score; rises with the score."""
        if self.particles == 0:
            return torch.zeros_like(scores)
        noise = math.log(1 - self.particles) + _log_normal(scores, self.noise_mean, self.noise_spread)
        particle = math.log(self.particles) + _log_normal(scores, self.particle_mean, self.particle_spread)
        probability = torch.sigmoid(particle - noise)
        probability = torch.where(scores > self.particle_mean, torch.ones_like(scores), probability)
        return torch.where(scores < self.noise_mean, torch.zeros_like(scores), probability)


def measure_noise_peaks(values: Tensor) -> NoisePeaks:
    """The distribution of the maxima found in a map of pure noise of unit standard deviation.

    Args:
        values: (n,) float64.
    """
    if values.numel() < 4:
        return NoisePeaks(1.5, 0.9, 3.5, int(values.numel()))
    ordered = torch.sort(values).values
    mean = float(ordered.cumsum(0)[-1]) / ordered.numel()
    spread = math.sqrt(float(((ordered - mean) ** 2).cumsum(0)[-1]) / ordered.numel())
    # One extreme value alone is noisy: extrapolate from the upper tail, which is close to exponential.
    upper = ordered[int(0.9 * ordered.numel())]
    tail = (ordered[ordered >= upper] - upper).cumsum(0)[-1] / max(int((ordered >= upper).sum()), 1)
    highest = float(upper + tail * math.log(max(0.1 * ordered.numel(), 1.0)))
    return NoisePeaks(mean, spread, highest, int(ordered.numel()))


def fit_scores(values: Tensor, troughs: Tensor, noise: NoisePeaks) -> ScoreModel:
    """Fit both groups to the candidates of a micrograph.

    Args:
        values: (n,) float64, the candidates' scores.
        troughs: (m,) float64, the depths of the local minima: noise is as often bright as dark, and no particle is bright.
        noise: what an empty micrograph would give, up to its scale.
    """
    if values.numel() < 4:
        return ScoreModel(noise.mean, noise.spread, 0.0, 1.0, 0.0, noise.highest)
    scale = _noise_scale(values, troughs, noise)
    alone = _noise_only(values, noise)
    floor = scale * noise.highest
    above = values[values > floor]
    if above.numel() == 0:
        return ScoreModel(alone[0], alone[1], 0.0, 1.0, 0.0, max(floor, alone[0] / noise.mean * noise.highest))
    fitted = _expectation_maximisation(values, (scale * noise.mean, scale * noise.spread), above)
    gain = fitted.likelihood - _log_normal(values, *alone).cumsum(0)[-1].item()
    model = ScoreModel(*fitted.groups, threshold=0.0)
    if gain < EVIDENCE:
        return ScoreModel(alone[0], alone[1], 0.0, 1.0, 0.0, max(floor, alone[0] + 3.5 * alone[1]))
    threshold = max(_best_f1(values, model.probability(values)), fitted.groups[0] + fitted.groups[1])
    return ScoreModel(*fitted.groups, threshold=threshold)


@dataclass(frozen=True)
class _Fit:
    groups: tuple[float, float, float, float, float]
    likelihood: float


def _noise_scale(values: Tensor, troughs: Tensor, noise: NoisePeaks) -> float:
    """Standard deviation of the map's noise: the smaller of what the typical maximum and the typical minimum say.

    Particles raise maxima and, through the bright halos of the filter and the CTF, also deepen minima; never the reverse.
    """
    guesses = [float(side.median()) / noise.mean for side in (values, troughs) if side.numel() >= 4]
    positive = [guess for guess in guesses if guess > 0]
    return min(positive) if positive else 1.0


def _noise_only(values: Tensor, noise: NoisePeaks) -> tuple[float, float]:
    """Mean and spread of the noise's group if there were nothing else: its shape at the best scale."""
    total = float(values.cumsum(0)[-1])
    scale = max(total / (values.numel() * noise.mean), 1e-6)
    return scale * noise.mean, scale * noise.spread


def _expectation_maximisation(values: Tensor, start: tuple[float, float], above: Tensor) -> _Fit:
    """Two normal groups, the upper one started at the candidates that noise does not explain."""
    mean0, spread0 = start
    floor = 0.5 * spread0
    mean1 = float(above.median())
    spread1 = max(floor, robust_spread(above))
    share = min(max(above.numel() / values.numel(), 1e-3), 0.999)
    for _ in range(ITERATIONS):
        log0 = math.log(1 - share) + _log_normal(values, mean0, spread0)
        log1 = math.log(share) + _log_normal(values, mean1, spread1)
        weight = torch.sigmoid(log1 - log0)
        weight = torch.where(values > mean1, weight.clamp(min=0.5), weight)
        weight = torch.where(values < mean0, torch.zeros_like(weight), weight)
        mean1, spread1, total1 = _weighted_moments(values, weight, floor)
        mean0, spread0, _ = _weighted_moments(values, 1 - weight, floor)
        share = min(max(total1 / values.numel(), 1e-4), 1 - 1e-4)
    likelihood = torch.logaddexp(
        math.log(1 - share) + _log_normal(values, mean0, spread0), math.log(share) + _log_normal(values, mean1, spread1)
    )
    return _Fit((mean0, spread0, mean1, spread1, share), likelihood.cumsum(0)[-1].item())


def robust_spread(values: Tensor) -> float:
    """1.4826 x median absolute deviation."""
    return float((values - values.median()).abs().median()) * 1.4826


def _weighted_moments(values: Tensor, weights: Tensor, floor: float) -> tuple[float, float, float]:
    total = max(float(weights.cumsum(0)[-1]), 1e-9)
    mean = float((weights * values).cumsum(0)[-1]) / total
    variance = float((weights * (values - mean) ** 2).cumsum(0)[-1]) / total
    return mean, max(math.sqrt(variance), floor), total


def _log_normal(values: Tensor, mean: float, spread: float) -> Tensor:
    return -0.5 * ((values - mean) / spread) ** 2 - math.log(spread) - 0.5 * math.log(2 * math.pi)


def _best_f1(values: Tensor, probability: Tensor) -> float:
    """The score at which the expected F1 = 2 true / (picked + all particles) of what lies above is greatest."""
    order = torch.sort(values, descending=True, stable=True).indices
    found = probability[order].cumsum(0)
    picked = torch.arange(1, values.numel() + 1, dtype=torch.float64, device=values.device)
    best = int(torch.argmax(2 * found / (picked + found[-1])))
    return float(values[order][best])
