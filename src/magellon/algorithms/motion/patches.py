"""How far each patch of each frame is from where it should be: derivatives of the likelihood of the alignment.

Every frame of a patch is compared with every other one in Fourier space. With Y_f the transforms moved back by the present
estimate and R their sum, the log-likelihood Σ_{f<g} Σ_k w(k) Re(conj(Y_f) Y_g) has the gradient
-Σ_k 2πk w(k) Im(conj(R) Y_f) with respect to the displacement of frame f, and its curvature couples frames f and g by
Σ_k (2πk)² w(k) Re(conj(Y_f) Y_g). The coupling matters where ice or damaged detail agrees between frames of similar exposure
only: slow motion is then known less well than the curvature of one frame against all others promises. The weight
w = 2 S / (N ((F - 1) S + N)) follows from the powers of signal S and noise N, which are measured on the movie itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.parallel import map_in_order

_TAPER = 0.12
_COUPLED = 8  # patches whose coupling between frames is measured: what they share is all that counts
_COARSEST = 200.0  # Å: larger features are ice and illumination, part of which stays with the camera


@dataclass(frozen=True)
class Patches:
    """Transforms of windows of the small frames, cut after moving each frame back by whole pixels."""

    transforms: list[Tensor]
    """Per patch (frames, rows, columns), complex64: the half plane up to the finest resolution, rows in `fft` order."""
    powers: list[Tensor]
    """Per patch (rows, columns): sum over frames of |transform|²."""
    centres: Tensor
    """(patches, 2): (y, x) in pixels of the small frames."""
    offsets: Tensor
    """(frames, 2), int64: whole pixels by which each frame was moved back."""
    box: tuple[int, int]
    """(height, width) of the windows."""
    pixel_size: float
    """Of the small frames, Å."""


@dataclass(frozen=True)
class Measurement:
    """Derivatives of the log-likelihood at the present displacement."""

    gradient: Tensor
    """(frames, patches, 2), float64: (y, x) in 1/Å."""
    information: Tensor
    """(patches,), float64: curvature of a frame of the patch against all others, mean over frames and axes, 1/Å²."""
    trusted: Tensor
    """(patches,) bool: whether the patch shows anything that moves as expected."""
    coupling: Tensor
    """(frames, frames), float64: curvature between frames relative to that: a Laplacian whose diagonal has the mean 1."""


def cut_patches(
    small: Tensor, track: Tensor, grid: tuple[int, int], pixel_size: float, resolution: float, threads: int
) -> Patches:
    """Cut a grid of windows that together cover the frames.

    Args:
        small: (frames, height, width).
        track: (frames, 2): coarse displacement in pixels of `small`.
        grid: rows and columns of patches.
        resolution: finest detail kept, Å.
    """
    height, width = small.shape[-2:]
    box = (_fast_size(height / grid[0], height), _fast_size(width / grid[1], width))
    offsets = track.round().long()
    corners = [
        (round(row * (height - box[0]) / max(1, grid[0] - 1)), round(column * (width - box[1]) / max(1, grid[1] - 1)))
        for row in range(grid[0])
        for column in range(grid[1])
    ]
    window = _edge_window(box[0])[:, None] * _edge_window(box[1])
    rows = min(box[0] // 2 - 1, int(box[0] * pixel_size / resolution))
    columns = min(box[1] // 2 - 1, int(box[1] * pixel_size / resolution))

    moves: list[list[int]] = offsets.tolist()

    def transform(corner: tuple[int, int]) -> Tensor:
        images = torch.empty(len(small), *box, device=small.device)
        for target, image, (dy, dx) in zip(images, small, moves, strict=True):
            _copy_window(target, image, corner[0] + dy, corner[1] + dx)
        images -= images.mean(dim=(1, 2), keepdim=True)
        spectrum = torch.fft.rfft2(images.mul_(window.to(images.device)))
        return torch.cat([spectrum[:, : rows + 1, : columns + 1], spectrum[:, -rows:, : columns + 1]], dim=1)

    centres = torch.tensor([[y + (box[0] - 1) / 2, x + (box[1] - 1) / 2] for y, x in corners], dtype=torch.float64)
    transforms = list(map_in_order(transform, corners, threads))
    powers = list(map_in_order(_power, transforms, threads))
    return Patches(transforms, powers, centres, offsets, box, pixel_size)


def _power(transforms: Tensor) -> Tensor:
    # Sums over whole frames are several times faster than over pairs of numbers.
    squares = torch.view_as_real(transforms).square().sum(dim=0)
    return squares[..., 0] + squares[..., 1]


def measure_patches(patches: Patches, displacement: Tensor, resolution: float, threads: int) -> Measurement:
    """Derivatives at the present estimate.

    Args:
        displacement: (frames, patches, 2), Å: present estimate.
        resolution: finest detail used, Å.
    """
    grid = _FrequencyGrid(patches, resolution)
    residual = displacement - patches.offsets[:, None] * patches.pixel_size

    count, frames = len(patches.transforms), displacement.shape[0]
    ones = torch.ones(1, frames, device=patches.transforms[0].device)
    every = max(1, count // _COUPLED)

    def align(number: int) -> tuple[Tensor, Tensor]:
        moved = grid.move(patches.transforms[number], residual[:, number])
        own = torch.view_as_real(moved).flatten(1)
        total = torch.view_as_complex((ones @ own).view(*moved.shape[1:], 2))
        return own, total

    def powers(number: int) -> tuple[Tensor, Tensor]:
        total = align(number)[1]
        return grid.rings(total.abs().square()), grid.rings(grid.crop(patches.powers[number]))

    coherent, incoherent = (sum(parts) for parts in zip(*map_in_order(powers, range(count), threads), strict=True))
    weight = grid.spread(_optimal_weight(coherent, incoherent, grid.ring_sizes * count, displacement.shape[0]))

    def differentiate(number: int) -> tuple[Tensor, Tensor, Tensor]:
        own, total = align(number)
        information = grid.information(total, grid.crop(patches.powers[number]), weight) / frames
        coupling = grid.coupling(own, weight) if number % every == 0 else torch.zeros(frames, frames).double()
        return grid.gradient(own, total, weight), information, coupling

    gradients, information, couplings = zip(*map_in_order(differentiate, range(count), threads), strict=True)
    return _summarise(torch.stack(gradients, dim=1), torch.stack(information), torch.stack(couplings))


def _summarise(gradient: Tensor, information: Tensor, couplings: Tensor) -> Measurement:
    """Couplings (patches, frames, frames) are noisy: taken as a factor per patch times a function of the frames' distance."""
    positive = information[information > 0]
    typical = float(positive.median()) if positive.numel() else 1e-12
    # A patch that is not convex at its present place has nothing to say; one ice crystal must not speak for the field.
    trusted = information > 0.1 * typical
    weighed = torch.where(trusted, information.clamp(max=4 * typical), 1e-3 * typical)
    scale = weighed / information.abs().clamp(min=0.1 * typical)
    near = _smooth_over_distance(couplings[trusted].sum(0))
    laplacian = torch.diag(near.sum(1)) - near
    return Measurement(gradient * scale[:, None], weighed, trusted, laplacian / laplacian.diagonal().mean())


def _smooth_over_distance(pooled: Tensor) -> Tensor:
    """The coupling (frames, frames) as a function of the distance in time, averaged more broadly where it is larger."""
    frames = pooled.shape[0]
    lag = (torch.arange(frames)[:, None] - torch.arange(frames)[None]).abs()
    means = torch.stack([pooled.diagonal(offset).mean() for offset in range(1, frames)])
    smooth = torch.zeros(frames, dtype=pooled.dtype)
    for offset in range(1, frames):
        reach = offset // 4
        smooth[offset] = means[max(0, offset - 1 - reach) : offset + reach].mean()
    smooth = torch.cummin(smooth[1:], dim=0).values.clamp(min=float(smooth.max()) * 1e-3 + 1e-12)
    return torch.cat([torch.zeros(1, dtype=pooled.dtype), smooth])[lag]


class _FrequencyGrid:
    """Frequencies of the cropped half planes of the patches, up to a resolution."""

    def __init__(self, patches: Patches, resolution: float) -> None:
        first = patches.transforms[0]
        rows, columns = first.shape[-2] // 2, first.shape[-1] - 1
        lengths = (patches.box[0] * patches.pixel_size, patches.box[1] * patches.pixel_size)
        self.rows = min(rows, math.ceil(lengths[0] / resolution))
        self.columns = min(columns, math.ceil(lengths[1] / resolution))
        device = first.device
        row = torch.cat([torch.arange(self.rows + 1), torch.arange(-self.rows, 0)]).to(device)
        self.k_row = (row / lengths[0]).float()
        self.k_column = (torch.arange(self.columns + 1, device=device) / lengths[1]).float()
        radius = torch.hypot(self.k_row[:, None], self.k_column[None])
        ring = radius * min(lengths)
        self.ring = ring.round().long()
        self.k_squared = radius.square()
        inside = (radius <= 1 / resolution) & (radius >= 1 / _COARSEST)
        # The column at zero holds each frequency twice.
        self.inside = inside.float() * torch.where(torch.arange(self.columns + 1, device=device) == 0, 0.5, 1.0)
        self.bins = int(self.ring.max()) + 1
        self.ring_sizes = self.rings(torch.ones_like(radius))

    def crop(self, transform: Tensor) -> Tensor:
        if transform.shape[-2] == 2 * self.rows + 1 and transform.shape[-1] == self.columns + 1:
            return transform
        kept = transform[..., : self.columns + 1]
        return torch.cat([kept[..., : self.rows + 1, :], kept[..., -self.rows :, :]], dim=-2)

    def move(self, transform: Tensor, displacement: Tensor) -> Tensor:
        """Images moved back by displacement (frames, 2), Å."""
        shift = displacement.to(device=self.k_row.device)
        along_y = torch.exp(2j * math.pi * shift[:, 0, None] * self.k_row).to(torch.complex64)
        along_x = torch.exp(2j * math.pi * shift[:, 1, None] * self.k_column).to(torch.complex64)
        moved: Tensor = self.crop(transform) * along_y[:, :, None]
        return moved.mul_(along_x[:, None, :])

    def rings(self, image: Tensor) -> Tensor:
        """Sums over rings of equal frequency, (bins,), float64."""
        total = torch.zeros(self.bins, dtype=torch.float64, device=image.device)
        return total.index_add_(0, self.ring.flatten(), (image * self.inside).flatten().double())

    def spread(self, profile: Tensor) -> Tensor:
        """A radial profile on the grid, zero outside the band."""
        return profile.float()[self.ring] * self.inside

    def gradient(self, own: Tensor, total: Tensor, weight: Tensor) -> Tensor:
        """(frames, 2), 1/Å.

        Args:
            own: (frames, 2 x frequencies): real and imaginary parts of the moved transforms.
            total: (rows, columns): their sum.
        """
        reference = total * weight * (2 * math.pi)
        # Im(conj(R) Y) = Re R Im Y - Im R Re Y as one matrix product over real and imaginary parts.
        axes = (self.k_row[:, None], self.k_column[None])
        columns = [torch.stack([reference.imag * k, -reference.real * k], dim=-1).flatten() for k in axes]
        return (own @ torch.stack(columns, dim=1)).double()

    def information(self, total: Tensor, power: Tensor, weight: Tensor) -> Tensor:
        """Curvature summed over frames, mean of the two axes, 1/Å²: of every frame against the sum of the others."""
        pairs = (total.abs().square() - power).double()
        return (pairs * weight * self.k_squared).sum(-1).sum(-1) * (2 * math.pi**2)

    def coupling(self, own: Tensor, weight: Tensor) -> Tensor:
        """(frames, frames), 1/Å², mean of the two axes."""
        scale = (weight * self.k_squared * (2 * math.pi**2)).sqrt()
        scaled = own * torch.stack([scale, scale], dim=-1).flatten()
        return (scaled @ scaled.T).double()


def _optimal_weight(coherent: Tensor, incoherent: Tensor, sizes: Tensor, frames: int) -> Tensor:
    """2 S / (N ((F - 1) S + N)) per ring, from the powers of the sum and of the single frames."""
    sizes = sizes.clamp(min=1e-9)
    signal = _smooth((coherent - incoherent) / (frames * max(1, frames - 1)), sizes)
    noise = _smooth(incoherent / frames, sizes) - signal
    noise = torch.maximum(noise, 0.05 * incoherent / frames / sizes).clamp(min=1e-30)
    signal = signal.clamp(min=0)
    return 2 * signal / (noise * ((frames - 1) * signal + noise))


def _smooth(sums: Tensor, sizes: Tensor) -> Tensor:
    """Weighted mean over five neighbouring rings."""
    kernel = torch.ones(1, 1, 5, dtype=sums.dtype, device=sums.device)
    both = torch.stack([sums, sizes])[:, None]
    total, count = torch.nn.functional.conv1d(both, kernel, padding=2)[:, 0]
    smooth: Tensor = total / count.clamp(min=1e-9)
    return smooth


def _copy_window(target: Tensor, image: Tensor, y: int, x: int) -> None:
    """Copy the window of an image that starts at (y, x); what lies outside wraps around."""
    rows, columns = target.shape
    height, width = image.shape
    if y < 0 or x < 0 or y + rows > height or x + columns > width:
        index_y = torch.arange(y, y + rows, device=image.device) % height
        index_x = torch.arange(x, x + columns, device=image.device) % width
        target.copy_(image[index_y[:, None], index_x])
    else:
        target.copy_(image[y : y + rows, x : x + columns])


def _edge_window(size: int) -> Tensor:
    distance = (torch.arange(size) + 0.5).minimum(size - torch.arange(size) - 0.5)
    return 0.5 - 0.5 * torch.cos(math.pi * (distance / (_TAPER * size)).clamp(max=1))


def _fast_size(wanted: float, limit: int) -> int:
    """The smallest even product of 2, 3 and 5 that covers a patch and its share of the tapered edges."""
    size = min(limit, math.ceil(wanted * (1 + _TAPER)))
    sizes: Sequence[int] = [
        2 * 2**a * 3**b * 5**c for a in range(12) for b in range(6) for c in range(5) if size <= 2 * 2**a * 3**b * 5**c <= limit
    ]
    return min(sizes, default=limit)
