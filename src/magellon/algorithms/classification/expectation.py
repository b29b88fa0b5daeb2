"""Where and in which class each particle fits: the likelihood over class, rotation and shift (Sigworth 1998; Scheres 2005).

log p(x | k, psi, s) - log p(x | nothing) = sum over the half plane of (2 Re(conj(c R) x) - c² |R|²) / sigma², with the second
term in full, so that no class wins by its contrast alone. All classes, rotations and shifts are compared at low resolution
by one product of matrices; the best of each promising class are refined with all coefficients on a finer grid.

Sigworth, F. J. 1998, J. Struct. Biol. 122, 328; Scheres, S. H. W. et al. 2005, J. Mol. Biol. 348, 139.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.classification.sampling import Sampling, local_offsets

_LEAST = 0.005
"""Classes and poses less probable than this are not followed."""


@dataclass(frozen=True)
class References:
    """Class averages as the particles are compared with them."""

    turned: Tensor
    """(K, R, d) complex64: every reference at every fine angle."""
    power: Tensor
    """(K, shells + 1): sums of |R|² in each shell."""
    log_prior: Tensor
    """(K,) of the classes."""

    def to(self, device: str) -> "References":
        return References(self.turned.to(device), self.power.to(device), self.log_prior.to(device))


@dataclass(frozen=True)
class Batch:
    """Some particles (n,), whitened: everything divided by the noise's variance."""

    values: Tensor
    """(n, d') complex64: c x / sigma², up to the shells whose averages are wanted, d' >= d."""
    transfer: Tensor
    """(n, shells + 1): c² / sigma²."""


@dataclass(frozen=True)
class Fit:
    """Every hypothesis (h,) worth following, and the best of each particle (n,)."""

    particle: Tensor
    klass: Tensor
    angle: Tensor
    """(h,) index of the fine angle."""
    shift: Tensor
    """(h, 2) by which the content has to be moved onto the reference's place, fractions of the box."""
    weight: Tensor
    """(h,) probability; of one particle they sum to nearly 1."""
    best: Tensor
    """(n,) index of each particle's best hypothesis."""
    gain: Tensor
    """(n,) log-likelihood of the best over that of no particle at all."""


@dataclass(frozen=True)
class Search:
    """How a batch is searched."""

    sampling: Sampling
    shift_sigma: float
    """Of the prior on shifts, fraction of the box."""
    temperature: float = 1.0
    """Log-likelihoods are divided by it; more than 1 lets classes compete longer."""
    most: int = 8
    """Classes of a particle that are refined."""


def fit_batch(batch: Batch, references: References, search: Search) -> Fit:
    """Compare each particle with every reference at every rotation and shift."""
    best, angle, place = _search_coarsely(batch, references, search)
    klass, particle = _choose_classes(best, search)
    return _refine(batch, references, search, (particle, klass, angle[particle, klass], place[particle, klass]))


def _search_coarsely(batch: Batch, references: References, search: Search) -> tuple[Tensor, Tensor, Tensor]:
    """(n, K) each: the best value of every class over rotation and shift, its fine angle's index, its place's index."""
    sampling = search.sampling
    size = len(sampling.coarse.rows)
    shells = sampling.coarse.radius + 1
    phases = sampling.coarse.phases(sampling.shifts.to(batch.values.device))
    table = torch.view_as_real(references.turned[:, :: sampling.stride, :size])
    classes, turns = table.shape[:2]
    moved = torch.view_as_real(batch.values[:, None, :size] * phases)
    scores = moved.reshape(-1, 2 * size) @ table.reshape(classes * turns, 2 * size).T
    values, turn = scores.reshape(len(batch.values), len(phases), classes, turns).max(dim=3)
    prior = (sampling.shifts.to(values) ** 2).sum(1) / (2 * search.shift_sigma**2)
    values = 2 * values - prior[None, :, None]
    top, place = values.max(dim=1)
    energy = batch.transfer[:, :shells] @ references.power[:, :shells].T
    angle = turn.gather(1, place[:, None])[:, 0] * sampling.stride
    return top - energy + references.log_prior, angle, place


def _choose_classes(values: Tensor, search: Search) -> tuple[Tensor, Tensor]:
    """Classes and particles of the pairs to refine, particles ascending."""
    most = min(search.most, values.shape[1])
    share = torch.softmax(values / search.temperature, dim=1)
    top, klass = share.topk(most, dim=1)
    follow = top >= _LEAST
    follow[:, 0] = True
    particle = torch.arange(len(values), device=values.device)[:, None].expand(-1, most)
    return klass[follow], particle[follow]


def _refine(batch: Batch, references: References, search: Search, pairs: tuple[Tensor, Tensor, Tensor, Tensor]) -> Fit:
    """Evaluate the finer grid around the coarse optimum of each pair of particle and class."""
    particle, klass, angle, place = pairs
    sampling = search.sampling
    size, shells = len(sampling.disc.rows), sampling.disc.radius + 1
    device = batch.values.device
    turns = (angle[:, None] + torch.tensor([-1, 0, 1], device=device)) % len(sampling.angles)
    offsets = local_offsets(sampling.step).to(device)
    shifts = sampling.shifts.to(device)[place][:, None] + offsets
    near = references.turned[klass[:, None], turns][..., :size]
    local = sampling.disc.phases(offsets)
    moved = batch.values[particle, :size] * sampling.disc.phases(sampling.shifts.to(device))[place]
    moved = moved[:, None] * local
    scores = torch.bmm(torch.view_as_real(moved).flatten(2), torch.view_as_real(near).flatten(2).transpose(1, 2))
    energy = (batch.transfer[particle, :shells] * references.power[klass, :shells]).sum(1)
    prior = (shifts**2).sum(-1) / (2 * search.shift_sigma**2)
    values = 2 * scores - prior[..., None] + (references.log_prior[klass] - energy)[:, None, None]
    return _weigh(values, (particle, klass, turns, shifts), len(batch.values), search.temperature)


def _weigh(values: Tensor, pairs: tuple[Tensor, Tensor, Tensor, Tensor], count: int, temperature: float) -> Fit:
    particle, klass, turns, shifts = pairs
    tops, inside = values.flatten(1).max(dim=1)
    highest = torch.full((count,), -torch.inf, device=values.device).scatter_reduce(0, particle, tops, "amax")
    weight = torch.exp((values - highest[particle, None, None]) / temperature)
    total = torch.zeros(count, device=values.device).index_add_(0, particle, weight.flatten(1).sum(1))
    weight = weight / total[particle, None, None]
    keep = weight >= _LEAST
    is_top = torch.zeros_like(weight.flatten(1), dtype=torch.bool)
    is_top[torch.arange(len(tops), device=values.device), inside] = tops == highest[particle]
    keep |= is_top.reshape(keep.shape)
    pair, place, turn = keep.nonzero(as_tuple=True)
    chosen = weight[pair, place, turn]
    owner = particle[pair]
    position = torch.arange(len(pair), device=values.device)
    best = torch.full((count,), -1, dtype=torch.long, device=values.device)
    order = torch.argsort(chosen, stable=True)
    best[owner[order]] = position[order]
    return Fit(owner, klass[pair], turns[pair, turn], shifts[pair, place], chosen, best, highest)
