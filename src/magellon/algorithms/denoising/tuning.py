"""Tuning the network to a session: from one half of each exposure predict the other, and judge it on halves kept aside.

The halves are sums of the even and of the odd frames. Their noise is independent, everything else is common to both: the
specimen, but also the ice, carbon and what the camera always adds.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.denoising.denoise import check_micrograph
from magellon.algorithms.denoising.learning import spectral_error
from magellon.algorithms.denoising.network import STRIDE, DenoisingNetwork
from magellon.algorithms.denoising.noise import measure_level
from magellon.algorithms.denoising.scale import plan_scale, reduce_image
from magellon.errors import BadInput

CROP = 192
"""Pixels of the network's scale in what it learns from at once."""
_BATCH = 4
_SMALLEST = 64
"""Pixels of the network's scale along the shorter side of a micrograph one can learn from."""
_AVERAGING = 0.98

Pair = tuple[Tensor, Tensor]
"""Both halves (height, width) at the network's scale, in units of their noise."""


@dataclass(frozen=True)
class Tuning:
    """How long and how boldly."""

    steps: int = 300
    rate: float = 3e-4
    seed: int = 0


@dataclass(frozen=True)
class Tuned:
    """What came of it. Errors are those of `spectral_error` on the pairs held out."""

    network: DenoisingNetwork
    """The tuned one, or the one it started from if that was better."""
    before: float
    after: float

    @property
    def improved(self) -> bool:
        return self.after < self.before


def prepare_pair(first: Tensor, second: Tensor, pixel_size: float) -> Pair:
    """Two half sums (height, width) of one exposure as the network sees them.

    Raises:
        BadInput: they differ in shape, or cannot be denoised.
    """
    if first.shape != second.shape:
        raise BadInput(f"halves of shapes {tuple(first.shape)} and {tuple(second.shape)}: must be those of one movie")
    for half in (first, second):
        check_micrograph(half, pixel_size)
    scale = plan_scale((first.shape[0], first.shape[1]), pixel_size)
    # Without the mirror image at the edges, which would be learnt twice.
    inside = [round(scale.margin * small / whole) for small, whole in zip(scale.reduced, scale.extended, strict=True)]
    sizes = [
        round(side * small / whole / STRIDE - 0.5) * STRIDE
        for side, small, whole in zip(scale.shape, scale.reduced, scale.extended, strict=True)
    ]
    if min(sizes) < _SMALLEST:
        raise BadInput(f"halves of shape {tuple(first.shape)} at {pixel_size:g} Å/px: too small to learn from")
    halves = []
    for half in (first, second):
        level = measure_level(half, scale.limit_px).rescaled(scale.pixels_kept)
        reduced = level.standardise(reduce_image(half, scale))
        halves.append(reduced[inside[0] : inside[0] + sizes[0], inside[1] : inside[1] + sizes[1]].contiguous())
    return halves[0], halves[1]


def split_pairs(count: int) -> tuple[list[int], list[int]]:
    """Which of so many pairs are learnt from, and which are held out: every fourth.

    Raises:
        BadInput: fewer than two.
    """
    if count < 2:
        raise BadInput(f"{count} pairs of halves: at least 2 are needed, one of which is held out to judge by")
    held_out = list(range(min(3, count - 1), count, 4))
    return [index for index in range(count) if index not in held_out], held_out


def tune_network(
    start: DenoisingNetwork, pairs: Sequence[Pair], tuning: Tuning, progress: Callable[[float], None] = lambda fraction: None
) -> Tuned:
    """Learn from three quarters of the pairs, judge by the others. Deterministic for the same pairs, tuning and threads.

    Raises:
        BadInput: fewer than two pairs.
    """
    learnt, held_out = split_pairs(len(pairs))
    generator = torch.Generator().manual_seed(tuning.seed)
    network, average = copy.deepcopy(start).train(), copy.deepcopy(start)
    optimiser = torch.optim.AdamW(network.parameters(), lr=tuning.rate, weight_decay=1e-4)
    before = measure_error(start, [pairs[index] for index in held_out])
    for step in range(tuning.steps):
        progress(step / tuning.steps)
        for group in optimiser.param_groups:
            group["lr"] = tuning.rate * (0.5 + 0.5 * math.cos(math.pi * step / tuning.steps))
        given, wanted = _draw_crops([pairs[index] for index in learnt], generator)
        loss = spectral_error(network(given), wanted)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        follow_network(average, network, _AVERAGING)
    after = measure_error(average, [pairs[index] for index in held_out])
    return Tuned(average if after < before else start, before, after)


def measure_error(network: DenoisingNetwork, pairs: Sequence[Pair]) -> float:
    """Mean error of predicting each half from the other; most of it is the noise of what is predicted."""
    with torch.no_grad():
        errors = [
            float(spectral_error(network(given[None, None]), wanted[None, None]))
            for first, second in pairs
            for given, wanted in ((first, second), (second, first))
        ]
    return sum(errors) / len(errors)


def follow_network(average: DenoisingNetwork, network: DenoisingNetwork, memory: float) -> None:
    """Move the running average of the weights."""
    with torch.no_grad():
        for kept, new in zip(average.parameters(), network.parameters(), strict=True):
            kept.lerp_(new, 1 - memory)


def _draw_crops(pairs: Sequence[Pair], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and targets (n, 1, side, side) from random places, turned and mirrored at random."""
    side = min(CROP, *(min(pair[0].shape) // STRIDE * STRIDE for pair in pairs))
    inputs, targets = [], []

    def draw(below: int) -> int:
        return int(torch.randint(below, (1,), generator=generator))

    for _ in range(_BATCH):
        pair = pairs[draw(len(pairs))]
        height, width = pair[0].shape
        top, left, turns, mirrored, swapped = draw(height - side + 1), draw(width - side + 1), draw(4), draw(2), draw(2)
        crops = [torch.rot90(half[top : top + side, left : left + side], turns) for half in pair]
        crops = [crop.flip(0) if mirrored else crop for crop in crops]
        inputs.append(crops[swapped])
        targets.append(crops[1 - swapped])
    return torch.stack(inputs)[:, None], torch.stack(targets)[:, None]
