"""Which classes, and which particles in them, are junk: by what they show of a particle, not by training on examples.

Each sign of junk gives a probability; a class or particle is junk unless all signs say otherwise. Two numbers of each particle
carry most of it, both in units of log-likelihood:

- `gain`: of the best class and pose over no particle at all. The best of thousands of poses finds 4 standard deviations in pure
  noise, so noise reaches about 4² / 2 = 8.
- `signal`: the power above that of noise. It needs no reference, so nothing can be fitted into it.

A true class explains a part of the signal (gain < signal; views and conformations differ). Noise aligned to itself, or picked
with a template, gains more than it holds. Carbon, crystals and clumps hold far more than a class average explains. What the
averages look like adds: noise is dark as often as bright, things cut by the mask are bright at its rim, crystals are many times
denser than protein.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.classification.emptiness import Emptiness, find_empty, mean_by_class, weigh_losses
from magellon.units import Angstrom, AngstromPerPixel

_NOISE_ERROR = 0.08
"""How well the level of the noise is known, as a fraction: neighbours in the surroundings it is measured in raise it.

Chosen on one simulated session, in which neighbours cover much of each box."""
_WEAK = 8.5
"""Mean gain up to which a class may be noise, 4.1 standard deviations."""
_PICKED = 15.0
"""Gain that no class of noise picked by a template reaches.

Picks are the best of thousands of places, and alignment finds a little more: 4.5 to 5 standard deviations, 10 to 12.7 seen."""
_ALIKE = 0.45
"""Variance of gains, over that of one particle in noise, up to which a class may be noise that a template has picked.

0.1 to 0.35 seen there, less one standard error, and 0.4 to 1.4 in classes of weak particles."""
_PROOF = 3.0
"""Standard deviations at which halves agree where the alignment knew nothing; those of noise are 0 +- 1."""
_STRONG = 0.3
"""Part of the particles in classes worth more than picked noise can be that says as much.

It is 0 in picked noise, and 0.37 and more where two of three proteins are the weakest there were."""
_EXPLAINED = 0.35
"""Part of their signal that such classes explain; 0.4 to 0.6 seen of particles, 0.24 to 0.32 of carbon and clumps."""
_FAINT = 18.0
"""Gain of particles up to which the average of a class has its own noise in its looks."""
_LOSS = 0.01
"""Part of the particles that may be expected to be lost with the boxes set aside as empty.

Particles do more for an average than as many empty boxes harm it; who chooses classes by eye keeps all that is in one."""
_READABLE = 2.0
"""Signal over noise in a class average at which its halves agree by one half: the least that is called shown."""
_SEEN = 8.0
"""The same at which they agree by four fifths: enough shown without any further shell."""
_SPOILED = 0.75
"""Part of a class that is junk one by one from which on the rest is, too."""
_BETTER_THAN = 4.0
"""A class that shows details of no more than this part of its diameter has quality 0."""


@dataclass(frozen=True)
class Evidence:
    """K classes of N particles."""

    averages: Tensor
    """(K, n, n): mass white, centred."""
    klass: Tensor
    """(N,) int64, 0..K-1."""
    gain: Tensor
    """(N,) log-likelihood over that of no particle."""
    signal: Tensor
    """(N,) from `measure_signal`."""
    coefficients: Tensor
    """(N,) independent complex coefficients both are sums over."""
    taken: Tensor
    """(N,) those of them in shells that were not aligned from the start."""
    resolution: Tensor
    """(K,) Å."""
    pixel_size: AngstromPerPixel
    diameter: Angstrom
    proof: float
    """Standard deviations by which all halves agree beyond what was aligned; infinite where shells were taken."""


@dataclass(frozen=True)
class Judgement:
    """Probabilities and scores in 0..1."""

    class_junk: Tensor
    """(K,)"""
    quality: Tensor
    """(K,): 0 for junk, rising with the detail shown."""
    particle_junk: Tensor
    """(N,), its class's included; of seemingly empty boxes lower than their chance of being empty, as `_LOSS` wants it."""


def measure_signal(power: Tensor, noise: Tensor, counts: Tensor, shells: Tensor, mask_energy: float) -> tuple[Tensor, Tensor]:
    """Each particle's power above that of noise, in units of the noise, and the number of coefficients it is a sum over.

    Args:
        power: (N, S) |x|² of the masked particle, summed over the coefficients of each shell of half the plane.
        noise: (N, S) variance of the noise in each coefficient.
        counts: (S,) coefficients in each shell.
        shells: (N,) int64: the last shell that counts.
        mask_energy: mean square of the mask: the part of the noise's power that it lets through.
    """
    inside = torch.arange(len(counts), device=power.device) <= shells[:, None]
    excess = (power - noise * counts * mask_energy) / noise.clamp(min=1e-12)
    return (excess * inside).sum(1), (counts * inside).sum(1) * mask_energy


def judge(evidence: Evidence) -> Judgement:
    """Judge classes and particles. Empty classes are junk."""
    e = evidence
    classes = len(e.averages)
    count = torch.bincount(e.klass, minlength=classes)
    # A class of weak particles that drew empty boxes, too, is judged by its particles.
    empty = find_empty(e.gain, e.klass, classes)
    gain = empty.typical
    signal, variance, taken = (
        mean_by_class(values, e.klass, classes, 1 - empty.chance) for values in (e.signal, e.coefficients, e.taken)
    )
    # Boxes that a template has picked in noise hold 4 to 4.5 standard deviations of it: a true signal, but only of what was
    # looked for. They never agree in what neither template nor alignment knew, and are never worth more than the best place in
    # noise. And, the best of many places, they are alike, while particles of one mean differ by their noise, and by views and
    # defoci.
    shown = torch.maximum(_step(torch.tensor(e.proof - _PROOF), 0.3), _step(_strong_part(empty, signal, count) - _STRONG, 0.03))
    told_apart = shown * _step(empty.breadth - _ALIKE, 0.03)
    worth = _PICKED + (_WEAK - _PICKED) * told_apart
    # A class of few particles, whose signal is known to sqrt(coefficients / particles) only, has the benefit of the doubt where
    # most particles are in sound classes.
    unsure = _NOISE_ERROR * variance
    # Shells were taken as halves agreed in them: the noise's level, being off by little in each of many, is no witness against.
    signal = signal + _NOISE_ERROR * taken
    sound = float(((gain < signal) & (gain > worth)).float() @ count.float()) / max(len(e.klass), 1)
    doubt = sound * (variance / count.clamp(min=1)).sqrt()
    overfitted = _step(gain / (signal + unsure + doubt).clamp(min=1.0) - 1.02, 0.05)
    picked = _step(worth - torch.minimum(gain, signal + doubt), 0.6)
    known = torch.maximum(_step(_WEAK - gain, 0.6), overfitted)
    looks = judge_averages(e.averages, e.pixel_size, e.diameter, count, known, _step(_FAINT - gain, 0.6))
    # What a few particles have in common cannot be seen in their average.
    seen = _signal_to_noise(e, torch.minimum(gain, signal + doubt))
    faint = _step(_READABLE - seen, 0.2)
    detail = (e.diameter / e.resolution.clamp(min=1e-6) - _BETTER_THAN).clamp(min=0)
    # Nor have those much in common whose halves differ in the very shells that the classes together showed, unless they are
    # seen well in the others.
    blank = _step(_SEEN - seen, 0.5) * ((detail == 0) & (e.taken > 0).any())
    class_junk = _any_of(overfitted, picked, *looks, faint, blank)
    unexplained = _unexplained(e, class_junk)
    spoiled = _step(mean_by_class(_any_of(empty.chance, unexplained), e.klass, classes) - _SPOILED, 0.06)
    class_junk = _any_of(class_junk, spoiled)
    quality = (1 - class_junk) * (1 - torch.exp(-detail / 5))
    candidates = (class_junk[e.klass] < 0.5) & (unexplained < 0.5)
    chance = weigh_losses(empty.chance, candidates, _LOSS)
    return Judgement(class_junk, quality, torch.stack([chance, unexplained, class_junk[e.klass]]).amax(0))


def _strong_part(empty: Emptiness, signal: Tensor, count: Tensor) -> Tensor:
    """() part of the particles that are in classes worth more than noise can be that a template has picked."""
    held = (1 - empty.share) * count
    strong = _step(torch.minimum(empty.typical, signal) - _PICKED, 0.6) * _step(empty.breadth - _ALIKE, 0.03)
    # Classes of carbon, crystals and clumps explain less of what is there.
    strong = strong * _step(empty.typical / signal.clamp(min=1) - _EXPLAINED, 0.02)
    return (strong * held).sum() / held.sum().clamp(min=1e-6)


def judge_averages(
    averages: Tensor, pixel_size: AngstromPerPixel, diameter: Angstrom, count: Tensor, known: Tensor, faint: Tensor
) -> tuple[Tensor, Tensor]:
    """Two signs of junk in averages (K, n, n), (K,) each: dark as bright or cut by the mask's rim; far denser than others.

    Args:
        count: (K,) particles of each class.
        known: (K,) probability that a class is junk for other reasons: such classes are no measure for others.
        faint: (K,) probability that its particles are so weak that noise shows in the average.
    """
    n = averages.shape[-1]
    place = torch.arange(n, device=averages.device) - n // 2
    radius = torch.hypot(place[:, None].float(), place.float()) * pixel_size / (diameter / 2)
    inside, rim, beyond = radius < 1, (radius > 0.88) & (radius <= 1.02), radius > 1.15
    level = averages[:, beyond].mean(1) if beyond.any() else averages.flatten(1).median(1).values
    values = (averages - level[:, None, None])[:, inside].sort(1).values
    tenth = max(1, values.shape[1] // 10)
    top = values[:, -tenth:].mean(1).clamp(min=1e-12)
    darkness = -values[:, :tenth].mean(1) / top
    edge = (averages[:, rim].amax(1) - level) / top
    weight = count * ((known < 0.5) & (count > 0))
    # Where all classes touch the rim, the diameter given is too small, which is no fault of theirs. Dark haloes are common to
    # all classes where low frequencies are not restored well.
    cut = edge - max(0.8, _weighted_quantile(edge, weight) + 0.45)
    dark = darkness - max(0.7, _weighted_quantile(darkness, weight) + 0.4)
    # Noise is both. Faint views may be one of them, and are not condemned for it.
    both = cut.clamp(min=-0.3) + dark.clamp(min=-0.3) - 0.2
    strange = _step(faint * both + (1 - faint) * torch.maximum(cut, dark), 0.07)
    # Crystals are few; of two proteins one may be three times as dense as the other, and be most of the particles or not.
    most = max(3.2 * _weighted_quantile(top, weight), 2.4 * _weighted_quantile(top, weight, 0.75), 1e-12)
    return strange, _step(top / most - 1, 0.08) * (weight > 0).any()


def _signal_to_noise(e: Evidence, explained: Tensor) -> Tensor:
    """(K,) power of the signal over that of the noise in each coefficient of the class averages, where all are compared."""
    first = mean_by_class(e.coefficients - e.taken, e.klass, len(explained))
    return explained * torch.bincount(e.klass, minlength=len(explained)) / first.clamp(min=1)


def _unexplained(e: Evidence, class_junk: Tensor) -> Tensor:
    """(N,) probability that there is more in a box than a particle of its class."""
    rest = (e.signal - e.gain) / e.coefficients.clamp(min=1).sqrt()
    fair = class_junk[e.klass] < 0.5
    if not fair.any():
        return torch.zeros_like(rest)
    overall = rest[fair].median()
    spread = (1.4826 * (rest[fair] - overall).abs().median()).clamp(min=1.0)
    # A class of another, larger protein leaves more unexplained than others; a class of carbon is not excused by itself.
    own = _class_medians(rest, e.klass, len(e.averages))[e.klass]
    centre = torch.minimum(torch.maximum(own, overall), overall + 2 * spread)
    return _step((rest - centre) / spread - 2.3, 0.3)


def _step(value: Tensor, width: float) -> Tensor:
    return torch.sigmoid(value / width)


def _any_of(*chances: Tensor) -> Tensor:
    result = torch.ones_like(chances[0])
    for chance in chances:
        result = result * (1 - chance)
    return 1 - result


def _class_medians(values: Tensor, klass: Tensor, classes: int) -> Tensor:
    """(K,): the lower median; 0 for an empty class."""
    order = torch.argsort(values, stable=True)
    order = order[torch.argsort(klass[order], stable=True)]
    count = torch.bincount(klass, minlength=classes)
    middle = count.cumsum(0) - count + (count - 1).clamp(min=0) // 2
    found = values[order[middle.clamp(max=max(len(values) - 1, 0))]] if len(values) else values.new_zeros(classes)
    return torch.where(count > 0, found, torch.zeros_like(found))


def _weighted_quantile(values: Tensor, weights: Tensor, part: float = 0.5) -> float:
    """The median, or another quantile; 0 without any weight."""
    order = torch.argsort(values, stable=True)
    total = weights[order].double().cumsum(0)
    if not len(values) or total[-1] <= 0:
        return 0.0
    return float(values[order][int((total >= total[-1] * part).nonzero()[0, 0])])
