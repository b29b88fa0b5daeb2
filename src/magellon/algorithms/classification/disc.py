"""The low frequencies of square images as one vector: half a disc of Fourier coefficients, ordered from the centre outward.

A resolution is then a prefix of the vector. Coefficients are those of the orthonormal transform about pixel [n // 2, n // 2],
so white noise of unit variance has E|x|² = 1 in each, whatever the size of the image, and a shift of the content by s (in
fractions of the box) multiplies coefficient k by exp(-2 pi i k.s). The zero frequency is left out.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from magellon.units import Pixel


@dataclass(frozen=True)
class Disc:
    """Which coefficients (d of them) make up the vector; each stands for itself and its conjugate at -k."""

    rows: Tensor
    """(d,) int64: k_y, cycles per box, negative ones too."""
    columns: Tensor
    """(d,) int64: k_x >= 0."""
    shells: Tensor
    """(d,) int64: |k| rounded, ascending from 1."""
    radius: int
    """The largest shell."""

    @cached_property
    def counts(self) -> Tensor:
        """(radius + 1,) float32: coefficients in each shell."""
        return torch.bincount(self.shells, minlength=self.radius + 1).float()

    @cached_property
    def sizes(self) -> list[int]:
        """How many coefficients lie in the shells 0..s, for each s."""
        sizes: list[int] = self.counts.cumsum(0).long().tolist()
        return sizes

    @cached_property
    def indicator(self) -> Tensor:
        """(d, radius + 1) float32: 1 where a coefficient lies in a shell."""
        return torch.nn.functional.one_hot(self.shells, self.radius + 1).float()

    def inner(self, radius: int) -> "Disc":
        """The prefix up to a smaller radius."""
        size = self.sizes[radius]
        return Disc(self.rows[:size], self.columns[:size], self.shells[:size], radius)

    def phases(self, shifts: Tensor) -> Tensor:
        """(..., d) complex factors that move content by `shifts` (..., 2), (y, x) in fractions of the box."""
        angle = shifts[..., 0:1] * self.rows + shifts[..., 1:2] * self.columns
        turn = -2 * math.pi * angle
        return torch.complex(torch.cos(turn), torch.sin(turn))

    def shell_sums(self, values: Tensor) -> Tensor:
        """Sums of real values (..., d) in each shell: (..., radius + 1)."""
        return values @ self.indicator

    def to(self, device: torch.device | str) -> "Disc":
        return Disc(self.rows.to(device), self.columns.to(device), self.shells.to(device), self.radius)


def make_disc(radius: int) -> Disc:
    """All coefficients whose distance from zero rounds to 1..radius."""
    k_y, k_x = torch.meshgrid(torch.arange(-radius, radius + 1), torch.arange(radius + 1), indexing="ij")
    shell = torch.sqrt((k_y**2 + k_x**2).double()).round().long()
    keep = (shell >= 1) & (shell <= radius) & ((k_x > 0) | (k_y > 0))
    rows, columns, shells = k_y[keep], k_x[keep], shell[keep]
    order = torch.argsort(shells, stable=True)
    return Disc(rows[order], columns[order], shells[order], radius)


def take_coefficients(images: Tensor, disc: Disc) -> Tensor:
    """Coefficients (..., d), complex64, of images (..., n, n) whose n is larger than 2 * disc.radius."""
    n = images.shape[-1]
    transform = torch.fft.rfft2(images, norm="ortho")
    values: Tensor = transform[..., disc.rows % n, disc.columns] * _centre_phase(disc, n)
    return values


def draw_images(coefficients: Tensor, disc: Disc, size: Pixel) -> Tensor:
    """Images (..., size, size) of coefficients (..., d), the content about pixel [size // 2, size // 2].

    The inverse of `take_coefficients` for images without higher frequencies. `size` must be larger than 2 * disc.radius.
    """
    half = coefficients.new_zeros(*coefficients.shape[:-1], size * (size // 2 + 1))
    values = coefficients * _centre_phase(disc, size).conj()
    index = (disc.rows % size) * (size // 2 + 1) + disc.columns
    half[..., index] = values
    first = disc.columns == 0  # the column of k_x = 0 holds both halves
    half[..., (-disc.rows[first] % size) * (size // 2 + 1)] = values[..., first].conj()
    images: Tensor = torch.fft.irfft2(half.reshape(*coefficients.shape[:-1], size, size // 2 + 1), s=(size, size), norm="ortho")
    return images


def _centre_phase(disc: Disc, n: int) -> Tensor:
    turn = 2 * math.pi * (n // 2) / n * (disc.rows + disc.columns).float()
    return torch.complex(torch.cos(turn), torch.sin(turn))


def squared_modulus(values: Tensor) -> Tensor:
    """|x|² of complex values."""
    return values.real**2 + values.imag**2


def image_size(radius: int) -> Pixel:
    """A side that holds shells up to `radius`, a product of small primes."""
    size = 2 * radius + 2
    while any(size % factor for factor in (2,)) or _largest_factor(size) > 5:
        size += 1
    return size


def _largest_factor(number: int) -> int:
    largest = 1
    for factor in (2, 3, 5):
        while number % factor == 0:
            number //= factor
            largest = factor
    return number if number > 1 else largest
