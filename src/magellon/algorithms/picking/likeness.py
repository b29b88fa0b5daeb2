"""How much each candidate is like the mean of those of its micrograph that are surely particles.

The network has never seen the protein; the micrograph shows it many times. The rotational mean of the candidates, each
weighted by how sure it is, is the kernel of a matched filter against the micrograph's own noise (Turin 1960,
doi:10.1109/TIT.1960.1057571), whose answer is evidence that the network does not have. A candidate has no part in the mean it
is compared with: otherwise noise would be like itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.picking.field import highest_in_window, robust_scale
from magellon.algorithms.picking.lines import find_on_lines

RADIUS = 13
"""Cells to which the mean reaches: 0.8 diameters, so that it holds the fringes."""
FADE = 4.0
"""Cells over which it ends."""
CLIP = 4.0
"""Of the view's values: dirt weighs no more than particles."""
RINGS = 48
"""Per cycle and cell, over which the power of the noise is averaged."""
LONGEST = 24.0
"""Cells: waves longer than this are the ice's."""
LEAST_POWER = 0.02
NOT_NOISE = 0.3
"""Probability of a candidate whose surroundings do not count as noise."""
SUPPOSED = 20.0
"""Particles there are supposed to be at least: a network that doubts them all still knows which ones come first."""
FEWEST = 3
LEAST_WEIGHT = 1.0
TOO_STRONG = 4.0
"""Spreads of the responses about their median."""


@dataclass(frozen=True)
class Likeness:
    """Of the candidates of one micrograph.

    Attributes:
        response: (n,) float64, in standard deviations of what the filter gives anywhere.
        strength: the response that sure candidates have; 0 where there are too few to make a mean of.
        answer: (height, width) what the filter gives everywhere, in the same unit; None where there is no mean.
        lined: (n,) bool, which lie on a line, so that their response says nothing (`find_on_lines`); None: none.
    """

    response: Tensor
    strength: float
    answer: Tensor | None = None
    lined: Tensor | None = None


def measure_likeness(image: Tensor, usable: Tensor, positions: Tensor, probabilities: Tensor) -> Likeness:
    """Compare candidates with the mean of all the others.

    Args:
        image: (height, width), the view's first channel.
        usable: (h, w) bool of any size, stretched over it.
        positions: (n, 2), (y, x) in cells of the view.
        probabilities: (n,) that each is a particle, so far.
    """
    probabilities = suppose(probabilities)
    weights = probabilities.to(torch.float32).square()
    if len(weights) < FEWEST or float(weights.sum()) < LEAST_WEIGHT:
        return Likeness(torch.zeros(len(weights), dtype=torch.float64, device=image.device), 0.0)
    shape = (image.shape[0], image.shape[1])
    mask = torch.nn.functional.interpolate(usable[None, None].to(torch.float32), size=shape)[0, 0]
    image = image.clamp(-CLIP, CLIP) * mask
    away = mask * (1 - _mark_surroundings(shape, positions[probabilities > NOT_NOISE]))
    whitened = whiten(image, away if float(away.mean()) > 0.1 * float(mask.mean()) else mask)
    means, sums = _fade(_over_rings(image, positions) / _RING_SIZES.to(image)), _over_rings(whitened, positions)
    response, answer = _respond(means, sums, weights, whitened, mask)
    usual = weights * (response <= _find_limit(response, probabilities))
    if float(usual.sum()) >= LEAST_WEIGHT and bool((usual < weights).any()):
        weights = usual
        response, answer = _respond(means, sums, weights, whitened, mask)
    strength = float((weights * response).sum() / weights.sum())
    return Likeness(response, strength, answer, find_on_lines(image, mask > 0, positions))


def _respond(means: Tensor, sums: Tensor, weights: Tensor, whitened: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(n,) float64 of each candidate to the mean of the others, and (height, width) of every place to the mean of all."""
    total, weight = (weights[:, None] * means).sum(0), weights.sum()
    # The mean without the candidate itself, times the candidate.
    own, all_ = (means * sums).sum(1), (total * sums).sum(1)
    alone = (all_ - weights * own) / (weight - weights).clamp(min=1e-3)
    answer = _filter(whitened, total / weight)
    centre, spread = robust_scale(answer[mask > 0])
    spread = max(spread, 1e-12)
    return ((alone - centre) / spread).to(torch.float64), (answer - centre) / spread


def _find_limit(response: Tensor, probabilities: Tensor) -> float:
    """Beyond which a response is far too strong for one of these particles: a large foreign protein's, or a dense speck's.

    A few of them would be most of the mean, and nothing else would be like it.
    """
    order = torch.sort(response, stable=True).indices
    middle = _weighted_median(response[order], probabilities[order])
    apart = (response - middle).abs()
    order = torch.sort(apart, stable=True).indices
    return middle + TOO_STRONG * max(1.4826 * _weighted_median(apart[order], probabilities[order]), 1.0)


def _weighted_median(values: Tensor, weights: Tensor) -> float:
    """Of rising values (n,)."""
    below = weights.cumsum(0)
    return float(values[int(torch.searchsorted(below, below[-1] / 2).clamp(max=len(values) - 1))])


def suppose(probabilities: Tensor) -> Tensor:
    """Probabilities (n,) whose log odds are raised alike until they add up to `SUPPOSED`, or to half of all candidates."""
    odds = torch.logit(probabilities.to(torch.float64).clamp(1e-3, 1 - 1e-3))
    wanted = min(SUPPOSED, len(odds) / 2)
    raised = torch.sigmoid(odds + torch.linspace(0, 7, 71, dtype=torch.float64, device=odds.device)[:, None])
    return raised[int((raised.sum(1) >= wanted).to(torch.int8).argmax())]


def whiten(image: Tensor, noise: Tensor) -> Tensor:
    """Divide an image (height, width) by the power of its noise, found where `noise` (height, width) is 1.

    Its product with a signal is then the signal's log-likelihood, but for a constant.
    """
    shape = (image.shape[0], image.shape[1])
    k_row, k_column = rfft_frequencies(shape, device=image.device)
    k = torch.sqrt(k_row**2 + k_column**2)
    ring = (k * RINGS).round().long()
    power = torch.fft.rfft2(image * noise).abs().square().flatten()
    sums = torch.zeros(int(ring.max()) + 1, device=image.device).index_add_(0, ring.flatten(), power)
    mean = sums / torch.bincount(ring.flatten()) / (noise.sum() + 1e-6)
    fine = 1 - torch.exp(-((k * LONGEST) ** 2))
    whitened: Tensor = torch.fft.irfft2(torch.fft.rfft2(image) / mean[ring].clamp(min=LEAST_POWER) * fine, s=shape)
    return whitened


def _mark_surroundings(shape: tuple[int, int], positions: Tensor) -> Tensor:
    """(height, width) 1 within half a diameter of the positions, 0 elsewhere."""
    marks = torch.zeros(shape, device=positions.device)
    cells = positions.round().long()
    marks[cells[:, 0].clamp(0, shape[0] - 1), cells[:, 1].clamp(0, shape[1] - 1)] = 1
    return highest_in_window(marks, 17)


def _radii() -> Tensor:
    line = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float32)
    return torch.sqrt(line[:, None] ** 2 + line[None, :] ** 2)


_RING_OF = _radii().round().long().flatten()
_RING_SIZES = torch.bincount(_RING_OF)[: RADIUS + 1]


def _over_rings(image: Tensor, positions: Tensor) -> Tensor:
    """(n, RADIUS + 1): sums of an image over rings of one cell about positions between its cells."""
    height, width = image.shape
    line = torch.arange(-RADIUS, RADIUS + 1, device=image.device)
    steps = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1)
    places = (positions[:, None, None] + steps).flip(-1)
    grid = (2 * (places + 0.5) / torch.tensor([width, height], device=image.device) - 1).to(torch.float32)
    side = 2 * RADIUS + 1
    windows = torch.nn.functional.grid_sample(
        image[None, None], grid.reshape(1, -1, side, 2), mode="bicubic", align_corners=False
    ).reshape(-1, side * side)
    sums = torch.zeros(len(windows), int(_RING_OF.max()) + 1, device=image.device)
    return sums.index_add_(1, _RING_OF.to(image.device), windows)[:, : RADIUS + 1]


def _fade(profiles: Tensor) -> Tensor:
    """Profiles (n, RADIUS + 1) relative to their ends, at which they fade out."""
    distance = torch.arange(RADIUS, -1, -1, device=profiles.device)
    return (profiles - profiles[:, -3:].mean(1, keepdim=True)) * (distance / FADE).clamp(max=1)


def _filter(whitened: Tensor, profile: Tensor) -> Tensor:
    """The whitened image correlated with the round image of a profile: (height, width)."""
    radii = _radii().to(whitened.device)
    lower = radii.long().clamp(max=RADIUS - 1)
    part = (radii - lower).clamp(0, 1)
    kernel = (profile[lower] * (1 - part) + profile[lower + 1] * part) * (radii <= RADIUS)
    shape = (whitened.shape[0], whitened.shape[1])
    canvas = torch.zeros(max(shape[0], 2 * RADIUS + 1), max(shape[1], 2 * RADIUS + 1), device=whitened.device)
    canvas[: 2 * RADIUS + 1, : 2 * RADIUS + 1] = kernel
    canvas = canvas.roll((-RADIUS, -RADIUS), (0, 1))
    padded = torch.nn.functional.pad(whitened, (0, canvas.shape[1] - shape[1], 0, canvas.shape[0] - shape[0]))
    answer: Tensor = torch.fft.irfft2(torch.fft.rfft2(padded) * torch.fft.rfft2(canvas).conj(), s=padded.shape)
    return answer[: shape[0], : shape[1]]
