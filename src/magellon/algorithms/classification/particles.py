"""The particles of a run as alignment sees them, in memory or in a file mapped into it, taken batch by batch."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.classification.disc import Disc
from magellon.algorithms.classification.expectation import Batch


@dataclass
class ParticleData:
    """All usable particles (n,), and where each was found last."""

    values: Tensor
    """(n, d, 2) float32 or float16: c x as real and imaginary part. May be mapped from a file."""
    power: Tensor
    """(n, shells + 1) |x|² summed in shells."""
    transfer: Tensor
    """(n, shells + 1) mean c²."""
    group: Tensor
    """(n,) int64, optics group from 0."""
    fold: Tensor
    """(n,) int64: the part of the particles it belongs to, 0..F-1."""
    noise: Tensor
    """(groups, shells + 1): the variance of the noise in each coefficient."""
    forget: Callable[[], None] = lambda: None
    """Lets go of the memory that pages of a file take; called after each piece of work."""

    @property
    def folds(self) -> int:
        return int(self.fold.max()) // 2 * 2 + 2 if len(self.fold) else 2

    def __len__(self) -> int:
        return len(self.values)

    def take(self, index: Tensor, disc: Disc) -> Batch:
        """Whitened particles up to the disc's radius, on its device."""
        device = disc.rows.device
        size, shells = len(disc.rows), disc.radius + 1
        noise = self.noise[self.group[index], :shells].to(device)
        values = torch.view_as_complex(self.values[index, :size].float().contiguous()).to(device)
        return Batch(values / noise[:, disc.shells], self.transfer[index, :shells].float().to(device) / noise)


@dataclass
class Poses:
    """Where each particle (n,) was found: class, angle, shift; class -1 before the first time."""

    klass: Tensor
    psi: Tensor
    """Degrees, `rlnAnglePsi`."""
    shift: Tensor
    """(n, 2) by which content has to move onto the centre, (y, x), fractions of the box: `rlnOrigin`."""
    weight: Tensor
    """Probability of the best hypothesis."""
    gain: Tensor
    """Log-likelihood over that of no particle."""
    empty: Tensor
    """Probability that there is none; such boxes count that much less in averages."""

    @classmethod
    def unknown(cls, count: int) -> "Poses":
        zero = torch.zeros(count)
        return cls(torch.full((count,), -1), zero, torch.zeros(count, 2), zero.clone(), zero.clone(), zero.clone())

    def put(self, members: Tensor, found: tuple[Tensor, ...]) -> None:
        """Take on what was found of some particles: one tensor for each field, in their order, on any device."""
        for mine, new in zip((self.klass, self.psi, self.shift, self.weight, self.gain), found, strict=True):
            mine[members] = new.cpu()
