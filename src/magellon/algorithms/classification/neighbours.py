"""Views from pairs: particles that show the same one, their rotations, and groups of them.

Of the pairs that look most alike, half are wrong where particles are as noisy as in cryo-EM. But rotations along a round of
three right pairs add up to nothing, and of wrong ones they do not. The eigenvectors of the graph of pairs, each with its
rotation as a phase, are what all pairs agree on: particles whose rows in them are parallel show the same view, and the phase
between the rows is their rotation (Singer, Zhao, Shkolnisky & Hadani 2011, SIAM J. Imaging Sci. 4, 723, doi:10.1137/090778390;
Singer & Wu 2012, doi:10.1002/cpa.21395). No class is needed for it, so nothing hangs on where classes begin.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.classification.clustering import cluster
from magellon.algorithms.classification.leading import find_leading
from magellon.algorithms.classification.pairs import Pairs

_NEAREST = 10
"""Pairs of each particle that are asked."""
_VECTORS = 40
_STEPS = 4
"""Of the diffusion: how much more the first vectors count than the last."""
_ALIKE = 20
"""Pairs of each particle, by what all agree on, that groups are made from."""


@dataclass(frozen=True)
class Groups:
    """Particles (n,) by view."""

    label: Tensor
    """(n,) int64."""
    turn: Tensor
    """(n,) by which the angle of the content exceeds that of the group's most central particle, radians."""


def group_views(pairs: Pairs, count: int, generator: torch.Generator) -> Groups:
    """At most `count` groups of particles that show the same view."""
    rows = find_agreement(pairs)
    product = rows @ rows.conj().T
    likeness = product.abs() ** 2
    label = _cluster_graph(likeness, count, generator)
    turn = torch.zeros(len(label))
    for number in range(count):
        members = (label == number).nonzero()[:, 0]
        if not len(members):
            continue
        middle = members[likeness[members][:, members].sum(1).argmax()]
        turn[members] = product[middle, members].angle()
    return Groups(label, turn)


def find_agreement(pairs: Pairs) -> Tensor:
    """Unit vectors (n, q), complex64: the modulus of the product of two says how alike the views are, the phase the turn."""
    first, second, weight = _list_nearest(pairs.value, _NEAREST)
    phase = torch.exp(1j * pairs.turn[first, second])
    values, vectors = find_leading(_normalise(first, second, weight * phase, len(pairs.value)), _VECTORS)
    rows = (vectors * values.clamp(min=0) ** (_STEPS / 2)).to(torch.complex64)
    units: Tensor = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp(min=1e-12)
    return units


def _cluster_graph(likeness: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Spectral clustering (Ng, Jordan & Weiss 2001) of a graph whose edges are the pairs most alike: (n,) labels."""
    apart = likeness.clone().fill_diagonal_(-torch.inf)
    first, second, weight = _list_nearest(apart, _ALIKE)
    edges = weight * likeness[first, second]
    _, vectors = find_leading(_normalise(first, second, edges, len(likeness)), count)
    return cluster(vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-12), count, generator)


def _list_nearest(value: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs (row, column) of which one has the other among its `count` best, both ways round: 1 if both have, else 1/2."""
    best = value.topk(min(count, len(value) - 1), dim=1).indices
    chosen = torch.zeros(value.shape).scatter_(1, best, 0.5)
    chosen = chosen + chosen.T
    first, second = chosen.nonzero(as_tuple=True)
    return first, second, chosen[first, second].double()


def _normalise(first: Tensor, second: Tensor, edges: Tensor, count: int) -> Tensor:
    """The Hermitian matrix of the edges, sparse, each over the root of what its two ends have in all."""
    degree = torch.zeros(count, dtype=torch.float64).index_add_(0, first, edges.abs()).clamp(min=1e-12).rsqrt()
    values = edges * degree[first] * degree[second]
    return torch.sparse_coo_tensor(torch.stack([first, second]), values, (count, count), check_invariants=True).coalesce()
