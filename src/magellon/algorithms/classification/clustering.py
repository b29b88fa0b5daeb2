"""Groups of points that lie near each other."""

import torch
from torch import Tensor

_TRIES = 5


def cluster(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """k-means, the best of a few from k-means++ seeds (Arthur & Vassilvitskii 2007): (n,) labels 0..count-1."""
    points = points.double()
    tries = [_cluster_once(points, count, generator) for _ in range(_TRIES)]
    return min(tries, key=lambda each: each[0])[1]


def _cluster_once(points: Tensor, count: int, generator: torch.Generator, rounds: int = 30) -> tuple[float, Tensor]:
    """The summed squared distances, and the labels."""
    centres = points[torch.randint(len(points), (1,), generator=generator).to(points.device)]
    for _ in range(count - 1):
        distance = _distances(points, centres).amin(1).clamp(min=0)
        chance = (distance.cumsum(0) / distance.sum().clamp(min=1e-30)).cpu()
        draw = torch.rand(1, generator=generator, dtype=torch.float64)
        centres = torch.cat([centres, points[int(torch.searchsorted(chance, draw).clamp(max=len(points) - 1))][None]])
    for _ in range(rounds):
        share = torch.nn.functional.one_hot(_distances(points, centres).argmin(1), count).double()
        number = share.sum(0)
        centres = torch.where(number[:, None] > 0, share.T @ points / number.clamp(min=1)[:, None], centres)
    nearest, labels = _distances(points, centres).min(1)
    return float(nearest.sum()), labels


def _distances(points: Tensor, centres: Tensor) -> Tensor:
    return (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)
