"""Class averages from weighted sums of particles: two halves that say how far to trust them, and the average that follows.

average = sum(w c x / sigma²) / (sum(w c² / sigma²) + 1 / tau²): a Wiener filter whose signal power tau² in each shell is what
the two halves of the class have in common (Scheres 2012, J. Mol. Biol. 415, 406, with tau² from the halves' cross-spectrum).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.classification.disc import Disc, draw_images, image_size, take_coefficients
from magellon.algorithms.classification.expectation import Batch, Fit
from magellon.algorithms.classification.preparation import Box
from magellon.algorithms.classification.rotation import turn_back

_TINY = 1e-12


class Sums:
    """Weighted sums over particles of each class and angle, of one fold of the particles."""

    def __init__(self, classes: int, angles: int, disc: Disc) -> None:
        self.disc = disc
        self.classes, self.angles = classes, angles
        device = disc.rows.device
        self.values = torch.zeros(classes * angles, 2 * len(disc.rows), device=device)
        self.transfer = torch.zeros(classes, disc.radius + 1, device=device)
        self.weight = torch.zeros(classes, device=device)

    def add(self, batch: Batch, fit: Fit) -> None:
        """Add the particles of a batch where they fit."""
        size, shells = len(self.disc.rows), self.disc.radius + 1
        moved = batch.values[fit.particle, :size] * (self.disc.phases(fit.shift) * fit.weight[:, None])
        self.values.index_add_(0, fit.klass * self.angles + fit.angle, torch.view_as_real(moved).flatten(1))
        share = torch.zeros(self.classes, len(batch.values), device=self.values.device)
        share.index_put_((fit.klass, fit.particle), fit.weight, accumulate=True)
        self.transfer += share @ batch.transfer[:, :shells]
        self.weight += share.sum(1)

    def merge(self, other: "Sums") -> None:
        """Add what was summed up on any device."""
        self.values += other.values.to(self.values.device)
        self.transfer += other.transfer.to(self.values.device)
        self.weight += other.weight.to(self.values.device)

    def turn_upright(self, angles: Tensor) -> Tensor:
        """The sums of each class, (K, d)."""
        sums = torch.view_as_complex(self.values.reshape(self.classes, self.angles, -1, 2))
        return torch.stack([turn_back(each, self.disc, angles) for each in sums])


@dataclass(frozen=True)
class FoldAverages:
    """What each part (fold) of the particles, an even number F of them, gave for each class."""

    sums: Tensor
    """(F, K, d): w c x / sigma², upright."""
    transfer: Tensor
    """(F, K, shells + 1): w c² / sigma²."""
    weight: Tensor
    """(F, K): particles, by probability."""
    disc: Disc

    @property
    def occupancy(self) -> Tensor:
        """(K,) particles."""
        return self.weight.sum(0)

    def halves(self) -> Tensor:
        """(2, K, d): averages, without a filter, of the even and the odd folds."""
        sums = torch.stack([self.sums[0::2].sum(0), self.sums[1::2].sum(0)])
        transfer = torch.stack([self.transfer[0::2].sum(0), self.transfer[1::2].sum(0)])
        return sums / transfer[..., self.disc.shells].clamp(min=_TINY)


def average_folds(sums: Sequence[Sums], angles: Tensor) -> FoldAverages:
    return FoldAverages(
        torch.stack([each.turn_upright(angles) for each in sums]),
        torch.stack([each.transfer for each in sums]),
        torch.stack([each.weight for each in sums]),
        sums[0].disc,
    )


def correlate_halves(averages: FoldAverages) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over each shell of H1 H2*, |H1|² and |H2|²: each (K, shells + 1)."""
    first, second = averages.halves()
    disc = averages.disc
    cross = disc.shell_sums((first * second.conj()).real)
    return cross, disc.shell_sums(first.abs() ** 2), disc.shell_sums(second.abs() ** 2)


@dataclass(frozen=True)
class Filtered:
    """References after the Wiener filter."""

    whole: Tensor
    """(K, d) of all particles."""
    others: Tensor
    """(F, K, d): for the particles of each fold, the average of all other folds, which no particle's own noise is part of."""


def filter_averages(averages: FoldAverages, limits: Tensor) -> Filtered:
    """Wiener-filtered averages without anything beyond limits, in shells: (K,), or one for all classes, ()."""
    disc = averages.disc
    signal = estimate_signal(averages)
    inside = (torch.arange(disc.radius + 1, device=limits.device) <= limits[..., None]).float()
    noise = 1 / signal.clamp(min=_TINY)
    total, transfer = averages.sums.sum(0), averages.transfer.sum(0)
    whole = total * (inside / (transfer + noise))[:, disc.shells]
    left = averages.transfer.sum(0) - averages.transfer
    gain = inside / (left + noise)
    others = (total - averages.sums) * gain[..., disc.shells]
    return Filtered(whole, others)


def estimate_signal(averages: FoldAverages) -> Tensor:
    """(K, shells + 1) power of the signal in each coefficient: what the halves share, smoothed over three shells.

    A class's own estimate is steadied by that of all classes together.
    """
    cross, counts = correlate_halves(averages)[0], averages.disc.counts
    pooled = (cross * averages.occupancy[:, None]).sum(0) / averages.occupancy.sum().clamp(min=_TINY)
    mixed = 0.5 * cross + 0.5 * pooled
    window = torch.ones(1, 1, 3, device=cross.device)
    summed = torch.nn.functional.conv1d(mixed[:, None], window, padding=1)[:, 0]
    norm = torch.nn.functional.conv1d(counts[None, None], window, padding=1)[0, 0]
    return (summed / norm.clamp(min=1)).clamp(min=0)


def mask_references(references: Tensor, disc: Disc, box: Box) -> Tensor:
    """References (K, d) with everything outside the particle's soft mask at the background's level."""
    size = image_size(disc.radius)
    mask = box.mask(references.device, size)
    images = draw_images(references, disc, size)
    level = (images * (1 - mask)).flatten(1).sum(1) / (1 - mask).sum().clamp(min=_TINY)
    return take_coefficients((images - level[:, None, None]) * mask, disc)


def find_centres(references: Tensor, disc: Disc, box: Box) -> Tensor:
    """(K, 2) fractions of the box, (y, x): centre of mass of what is brighter than a tenth of the brightest pixel."""
    low = disc.inner(min(disc.radius, 8))
    size = image_size(disc.radius)
    images = draw_images(references[:, : len(low.rows)], low, size)
    mask = box.mask(references.device, size)
    level = (images * (1 - mask)).flatten(1).sum(1) / (1 - mask).sum().clamp(min=_TINY)
    images = (images - level[:, None, None]) * mask
    bright = (images - 0.1 * images.flatten(1).amax(1)[:, None, None]).clamp(min=0)
    place = (torch.arange(size, device=references.device) - size // 2) / size
    total = bright.flatten(1).sum(1).clamp(min=_TINY)
    return torch.stack([(bright.sum(2) * place).sum(1) / total, (bright.sum(1) * place).sum(1) / total], dim=1)
