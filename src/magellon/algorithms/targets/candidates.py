"""From the network's maps at several scales to candidates in the picture's own pixels."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch.nn import functional

from magellon.algorithms.targets.planes import enlarge_image, make_planes, reduce_image

Floats = NDArray[Any]
"""float32."""
Predict = Callable[[Floats], Floats]
"""(1, planes, height, width) to (1, channels, height / stride, width / stride), as `training.target_net` has them."""

LEAST_HEAT = 0.06
"""Of a centre that is looked at any further."""
SURE = 0.5
"""Heat of something that is there."""
_FULL_SIDE = 1152
"""Longest side of the scale that is always looked at in full, px."""
_LARGEST = 2_600_000
"""Pixels of the largest scale."""
_SMALLEST_SIDE = 24


@dataclass(frozen=True)
class NetworkFacts:
    """What the network answers to and how, from its file."""

    stride: int
    kinds: tuple[str, ...]
    sizes: tuple[float, float]
    """Smallest and largest object, in pixels of what it looks at."""
    angled: bool


@dataclass(frozen=True)
class Candidates:
    """Things that may be squares or holes, as arrays of equal length, in pixels of the picture."""

    x: Floats
    y: Floats
    size: Floats
    """Side or diameter."""
    heat: Floats
    """What the network thinks of it, 0-1."""
    kinds: Floats
    """(n, kinds): shares of 1."""
    angle: Floats
    """Degrees in [-45, 45); 0 where the network gives none."""

    def __len__(self) -> int:
        return len(self.x)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> "Candidates":
        """Some of them."""
        return Candidates(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def find_candidates(image: torch.Tensor, predict: Predict, facts: NetworkFacts) -> Candidates:
    """Look at the picture (height, width) at every scale that can show something.

    Scales are factors of two apart. Those finer than about a thousand pixels a side are only looked at when the coarser ones
    show nothing that the network is sure of, or things close to the smallest that it knows.
    """
    factors = _choose_factors(tuple(image.shape))
    found = [_look(image, factor, predict, facts) for factor in factors]
    finest = factors[0]
    while True:
        together = merge(found)
        size = choose_size(together)
        sure = size is not None and bool((keep_size(together, size).heat > SURE).any())
        finest = finest / 2
        if (sure and size is not None and size / (2 * finest) > 1.4 * facts.sizes[0]) or finest < 0.5:
            return together
        if image.numel() / finest**2 > _LARGEST:
            return together
        found.append(_look(image, finest, predict, facts))


def _choose_factors(shape: tuple[int, ...]) -> list[float]:
    """By which the picture is reduced, finest first; a small picture is first enlarged."""
    first = 0.5 if max(shape) <= _FULL_SIDE // 2 else float(math.ceil(max(shape) / _FULL_SIDE))
    factors = [first]
    while min(shape) / (2 * factors[-1]) >= _SMALLEST_SIDE:
        factors.append(2 * factors[-1])
    return factors


def _look(image: torch.Tensor, factor: float, predict: Predict, facts: NetworkFacts) -> Candidates:
    seen = enlarge_image(image) if factor < 1 else reduce_image(image, round(factor))
    maps = torch.from_numpy(predict(make_planes(seen)[None].cpu().numpy()))[0]
    stride = facts.stride
    height, width = (math.ceil(side / stride) for side in seen.shape)
    found = _read_peaks(maps[:, :height, :width], facts)
    low, high = facts.sizes
    found = found.take((found.size > 0.8 * low) & (found.size < 1.25 * high))
    move = factor * stride
    return Candidates(
        (found.x + 0.5) * move - 0.5, (found.y + 0.5) * move - 0.5, found.size * factor, found.heat, found.kinds, found.angle
    )


def _read_peaks(maps: torch.Tensor, facts: NetworkFacts) -> Candidates:
    """Local maxima of the heat, in cells (sizes in pixels of what was looked at); their values by vote of the cells around."""
    logit = maps[0]
    highest = functional.max_pool2d(logit[None], 3, stride=1, padding=1)[0]
    rows, columns = torch.nonzero((logit == highest) & (logit > math.log(LEAST_HEAT / (1 - LEAST_HEAT))), as_tuple=True)
    around = torch.tensor([(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    height, width = logit.shape
    y = (rows[:, None] + around[:, 0]).clamp(0, height - 1)
    x = (columns[:, None] + around[:, 1]).clamp(0, width - 1)
    votes = torch.sigmoid(logit[y, x])
    votes = votes / votes.sum(1, keepdim=True)
    values = maps[:, y, x]
    log_size = (values[1] * votes).sum(1)
    cells = 2**log_size * 16 / facts.stride
    kinds = torch.softmax(values[4 : 4 + len(facts.kinds)], dim=0)
    angle = torch.zeros(len(rows))
    if facts.angled:
        cosine, sine = ((values[4 + len(facts.kinds) + part] * votes).sum(1) for part in (0, 1))
        angle = torch.rad2deg(torch.atan2(sine, cosine)) / 4
    return Candidates(
        ((x + values[2] * cells[:, None]) * votes).sum(1).numpy(),
        ((y + values[3] * cells[:, None]) * votes).sum(1).numpy(),
        (2**log_size * 16).numpy(),
        torch.sigmoid(logit[rows, columns]).numpy(),
        (kinds * votes).sum(2).T.numpy(),
        angle.numpy(),
    )


def merge(parts: list[Candidates]) -> Candidates:
    """All candidates of several scales."""
    return Candidates(*(np.concatenate([getattr(part, name) for part in parts]) for name in Candidates.__dataclass_fields__))


def choose_size(candidates: Candidates) -> float | None:
    """The size that most of what was found has, as squares of a grid and holes of a film do. None: nothing found."""
    sizes = rank_sizes(candidates, 1)
    return sizes[0][0] if sizes else None


def rank_sizes(candidates: Candidates, count: int) -> list[tuple[float, float]]:
    """The `count` sizes that most have, at least 0.8 octaves apart, each with its weight; the weightiest first.

    Each candidate counts by how sure the network is and by how far it reaches, so that specks cannot outvote holes.
    """
    sure = candidates.heat > 0.12
    place = np.log2(candidates.size[sure])
    weight = candidates.heat[sure] ** 4 * candidates.size[sure]
    sizes: list[tuple[float, float]] = []
    while len(sizes) < count and len(place):
        steps = np.arange(place.min() - 0.2, place.max() + 0.25, 0.05)
        total = (np.abs(place[None] - steps[:, None]) < 0.2) @ weight
        members = np.abs(place - steps[int(np.argmax(total))]) < 0.2
        size = float(np.average(place[members], weights=weight[members]))
        sizes.append((2**size, float(total.max())))
        rest = np.abs(place - size) > 0.8
        place, weight = place[rest], weight[rest]
    return sizes


def keep_size(candidates: Candidates, size: float, octaves: float = 0.4) -> Candidates:
    """Those of about one size, each place once: the best of what lies closer than half a size."""
    fitting = candidates.take(np.abs(np.log2(candidates.size / size)) < octaves)
    order = np.argsort(-fitting.heat, kind="stable")
    fitting = fitting.take(order)
    if len(fitting) < 2:
        return fitting
    points = np.stack([fitting.x, fitting.y], axis=1)
    pairs = cKDTree(points).query_pairs(0.55 * size, output_type="ndarray")
    alive = np.ones(len(fitting), dtype=np.bool_)
    for better, other in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]:
        if alive[better]:
            alive[other] = False
    return fitting.take(alive)
