"""Reference-free picking: difference of Gaussians first, then the rotational mean of what that found.

The first look needs only the diameter: a difference of Gaussians (Lindeberg 1998, doi:10.1023/A:1008045108935) answers to
anything of that size. What it accepts is averaged around each centre; this profile holds the true size, a hollow inside and the
fringes of the CTF, and is the kernel of the second look, which centres better and separates better.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.fourier import rfft_frequencies
from magellon.algorithms.picking.detection import Candidates, Scene, prepare_scene
from magellon.algorithms.picking.field import (
    Field,
    check_diameter,
    check_image,
    flatten_background,
    reduce_micrograph,
    resize_mask,
    robust_scale,
    smooth,
)
from magellon.algorithms.picking.peaks import Peaks, climb_to_maxima, suppress_neighbours

CELLS_PER_DIAMETER = 18
BACKGROUND_DIAMETERS = 1.5
PROFILE_DIAMETERS = 0.75
"""Radius to which the profile of found particles is averaged."""
CLIP_SIGMAS = 4.0
"""Cells are limited to this, so that fringes and dirt weigh no more than particles."""
FEWEST_TO_COMPARE = 5
DARK_SIGMAS = 6.0
DARK_RATIO = 1.5
"""A pick darker than most by this many spreads and this share of their darkness is no particle."""
CENTRING_DIAMETERS = 0.1
"""Blur of the score map whose maxima are the centres: a compromise of slender particles (more) and thin-walled ones (less)."""
FARTHEST_CENTRING_DIAMETERS = 0.2
LEAST_EXPLAINED = 0.5
LOOKS = 2
"""With the profile of what was found before."""
FEWEST_FOR_PROFILE = 3
MOST_FOR_PROFILE = 500


@dataclass(frozen=True)
class DogSettings:
    """How to pick without a reference.

    Attributes:
        threshold: score, in standard deviations of the noise, above which candidates are picked; None: from the data.
        separation: least distance of two picks, in diameters.
        border: least distance of a centre from the image's edge, in diameters.
    """

    threshold: float | None = None
    separation: float = 0.5
    border: float = 0.5


def pick_dog(
    image: Tensor, pixel_size: float, diameter: float, settings: DogSettings = DogSettings(), usable: Tensor | None = None
) -> Peaks:
    """Pick particles of one size, dark on bright.

    Args:
        image: (height, width).
        pixel_size: Å/px.
        diameter: of the particle, Å: its longest extent.
        usable: (h, w) bool of any size, stretched over the image: False where nothing is to be picked (`mask_contamination`).

    Returns:
        Picks, the best first. A score is the particle's signal in standard deviations of the noise.

    Raises:
        BadInput: not an image, NaN, constant, or an impossible diameter.
    """
    check_image(image, pixel_size)
    check_diameter(diameter, (image.shape[0], image.shape[1]), pixel_size)
    field = reduce_micrograph(image, pixel_size, diameter / CELLS_PER_DIAMETER)
    return pick_field(field, diameter, settings, resize_mask(usable, field))


def pick_field(field: Field, diameter: float, settings: DogSettings, usable: Tensor) -> Peaks:
    """`pick_dog` on a micrograph that is reduced already; `usable` has the field's shape."""
    prepared = prepare_field(field, diameter, settings, usable)
    if prepared is None:
        return empty_peaks(field.image.device)
    scene, flat = prepared
    cells = diameter / field.pixel_size
    found = find_particles(scene, flat, cells, settings)
    positions, scores = found.accept(settings.threshold)
    positions = centre_positions(found.map, positions, scene.allowed, cells)
    kept = suppress_neighbours(positions, found.distance)
    positions, scores = positions[kept], scores[kept]
    kept = ~find_too_dark(field, usable, positions, cells)
    return Peaks(field.to_micrograph(positions[kept]), scores[kept])


def centre_positions(scores: Tensor, positions: Tensor, allowed: Tensor, cells: float) -> Tensor:
    """Move picks to the maximum of the blurred score map.

    A single view is not round: the sharp profile settles on its densest part. A blurred one sees the view's centre of mass.

    Args:
        scores: (height, width), the map the picks are maxima of.
        positions: (n, 2) float64, (y, x).
        allowed: (height, width) bool; a pick that would leave it stays.
        cells: the particle's diameter.
    """
    moved = climb_to_maxima(smooth(scores, CENTRING_DIAMETERS * cells), positions, FARTHEST_CENTRING_DIAMETERS * cells)
    nearest = moved.round().long()
    return torch.where(allowed[nearest[:, 0], nearest[:, 1]][:, None], moved, positions)


def find_too_dark(field: Field, usable: Tensor, positions: Tensor, cells: float) -> Tensor:
    """Which picks are far darker than most: ice crystals and the like of about a particle's size.

    Args:
        positions: (n, 2), (y, x) in cells.
        cells: the particle's diameter.

    Returns:
        (n,) bool.
    """
    flat = flatten_background(field.image, usable, 2 * BACKGROUND_DIAMETERS * cells)
    radius = max(1, round(cells / 4))
    mean = torch.nn.functional.avg_pool2d(flat[None, None], 2 * radius + 1, stride=1, padding=radius)[0, 0]
    nearest = positions.round().long()
    darkness = -mean[nearest[:, 0], nearest[:, 1]]
    centre, spread = robust_scale(darkness)
    if darkness.numel() < FEWEST_TO_COMPARE:
        return torch.zeros_like(darkness, dtype=torch.bool)
    return darkness - centre > max(DARK_SIGMAS * spread, DARK_RATIO * abs(centre))


def prepare_field(
    field: Field, diameter: float, settings: DogSettings, usable: Tensor, background: float = BACKGROUND_DIAMETERS
) -> tuple[Scene, Tensor] | None:
    """Flatten a field and scale its noise to 1.

    Args:
        background: width of the local mean, in diameters.

    Returns:
        What filters are applied to, and the flattened field (height, width); None when there is nowhere to pick.
    """
    cells = diameter / field.pixel_size
    allowed = usable & inside_border(field.shape, settings.border * cells, field.image.device)
    flat = flatten_background(field.image, usable, background * cells)
    noise = measure_noise(flat, usable)
    if noise == 0 or not bool(allowed.any()):
        return None
    flat = (flat / noise).clamp(-CLIP_SIGMAS, CLIP_SIGMAS)
    return prepare_scene(flat, allowed, math.ceil(PROFILE_DIAMETERS * cells)), flat


def find_particles(scene: Scene, flat: Tensor, cells: float, settings: DogSettings, looks: int = LOOKS) -> Candidates:
    """The clearest first look, then the looks with the profile of what was found before."""
    radius = math.ceil(PROFILE_DIAMETERS * cells)
    first = [scene.detect(kernel, settings.separation * cells) for kernel in first_kernels(cells, radius, flat)]
    found = choose_look(first)
    for _ in range(looks):
        again = _look_again(scene, flat, found, cells, settings)
        if again is None:
            break
        found = again
    return found


def choose_look(looks: Sequence[Candidates]) -> Candidates:
    """The one whose particles stand out most, of those that explain at least `LEAST_EXPLAINED` of what the best explains.

    Rings of neighbours stand out of what a hollow kernel takes for noise, most of all where the noise is not white, as in a
    denoised micrograph; but they explain far less of the field than the particles do.
    """
    least = LEAST_EXPLAINED * max(look.explained for look in looks)
    return max((look for look in looks if look.explained >= least), key=lambda look: look.model.gain)


def first_kernels(cells: float, radius: int, like: Tensor) -> list[Tensor]:
    """Kernels of the first look: differences of Gaussians for a full, a slender and a hollow particle, dark inside.

    Args:
        cells: the particle's diameter.
        radius: of the kernels.

    Returns:
        (2 radius + 1, same) each, without a mean, squares summing to 1.
    """
    y = torch.arange(-radius, radius + 1, dtype=like.dtype, device=like.device)
    r = torch.sqrt(y[:, None] ** 2 + y[None, :] ** 2)
    sigma = cells / math.sqrt(8)
    full, slender = _dog(r, 0.9 * sigma), _dog(r, 0.6 * sigma)
    # A hollow particle is dark along its rim: a ring of the wall's width, between brighter inside and outside.
    hollow = _dog_ring(r, 0.41 * cells, 0.06 * cells)
    support = (r <= radius).to(like.dtype)
    return [_normalise(kernel, support) for kernel in (full, slender, hollow)]


def _dog(r: Tensor, sigma: float) -> Tensor:
    """Wide minus narrow Gaussian, widths sqrt(1.6) above and below the sigma at which a disc answers most."""
    narrow, wide = sigma**2 / 1.6, sigma**2 * 1.6
    return torch.exp(-(r**2) / (2 * wide)) / wide - torch.exp(-(r**2) / (2 * narrow)) / narrow


def _dog_ring(r: Tensor, radius: float, sigma: float) -> Tensor:
    """The same profile laid around a circle."""
    return torch.exp(-((r - radius) ** 2) / (2 * (2 * sigma) ** 2)) / 2 - torch.exp(-((r - radius) ** 2) / (2 * sigma**2))


def measure_noise(flat: Tensor, usable: Tensor) -> float:
    """Standard deviation of the white part of the noise, from the upper half of the frequencies."""
    k_row, k_column = rfft_frequencies((flat.shape[0], flat.shape[1]), device=flat.device)
    radius = torch.sqrt(k_row**2 + k_column**2)
    band = (radius >= 0.35) & (radius < 0.5)
    power = torch.fft.rfft2(flat).abs().to(torch.float64).square()[band]
    share = int(usable.sum()) / flat.numel()
    return math.sqrt(float(power.cumsum(0)[-1]) / power.numel() / flat.numel() / share) if share > 0 else 0.0


def inside_border(shape: tuple[int, int], border: float, device: torch.device | str) -> Tensor:
    """(height, width) bool: cells whose centre lies at least `border` cells from the edge."""
    y = torch.arange(shape[0], device=device)
    x = torch.arange(shape[1], device=device)
    near = torch.minimum(y, shape[0] - 1 - y)[:, None], torch.minimum(x, shape[1] - 1 - x)[None, :]
    return (near[0] >= border - 0.5) & (near[1] >= border - 0.5)


def empty_peaks(device: torch.device | str) -> Peaks:
    """No picks."""
    return Peaks(torch.zeros(0, 2, dtype=torch.float64, device=device), torch.zeros(0, dtype=torch.float64, device=device))


def _look_again(scene: Scene, flat: Tensor, found: Candidates, cells: float, settings: DogSettings) -> Candidates | None:
    """Detect with the profile of what was accepted; None when that is too little to make one."""
    accepted = found.accept()[0][:MOST_FOR_PROFILE]
    radius = math.ceil(PROFILE_DIAMETERS * cells)
    windows = cut_windows(flat, accepted, radius)
    if windows.shape[0] < FEWEST_FOR_PROFILE:
        return None
    kernel = profile_kernel(median_profile(windows), cells)
    return scene.detect(kernel, settings.separation * cells)


def cut_windows(flat: Tensor, positions: Tensor, radius: int) -> Tensor:
    """(n, 2 radius + 1, 2 radius + 1) around the nearest cell of each position whose window lies inside."""
    centres = positions.round().long()
    height, width = flat.shape
    y, x = centres[:, 0], centres[:, 1]
    whole = (y >= radius) & (y < height - radius) & (x >= radius) & (x < width - radius)
    size = 2 * radius + 1
    return flat.unfold(0, size, 1).unfold(1, size, 1)[y[whole] - radius, x[whole] - radius]


def median_profile(windows: Tensor) -> Tensor:
    """Mean of each window over rings of one cell, then the median over windows: (radius + 1,) float64.

    The median, so that contamination among the windows does not count by its darkness.
    """
    count, size = windows.shape[0], windows.shape[-1]
    ring = ring_index(size, windows.device)
    sums = torch.zeros(count, int(ring.max()) + 1, dtype=torch.float64, device=windows.device)
    sums.index_add_(1, ring, windows.flatten(1).to(torch.float64))
    return (sums / torch.bincount(ring)).median(dim=0).values[: size // 2 + 1]


def ring_index(size: int, device: torch.device | str) -> Tensor:
    """Nearest ring around the middle for each cell of a (size, size) window: (size * size,) int64."""
    y = torch.arange(size, device=device) - size // 2
    return torch.sqrt((y[:, None] ** 2 + y[None, :] ** 2).to(torch.float64)).round().long().flatten()


def profile_kernel(profile: Tensor, cells: float) -> Tensor:
    """The image of a radial profile, faded out to its rim, without a mean, its square summing to 1: (n, n), n odd."""
    radius = profile.numel() - 1
    distance = torch.arange(radius + 1, dtype=torch.float64, device=profile.device)
    fade = ((radius - distance) / (0.25 * cells)).clamp(0, 1)
    faded = (profile - profile[-3:].mean()) * fade
    y = torch.arange(-radius, radius + 1, dtype=torch.float64, device=profile.device)
    r = torch.sqrt(y[:, None] ** 2 + y[None, :] ** 2)
    lower = r.floor().long().clamp(max=radius - 1)
    part = r - lower
    kernel = faded[lower] * (1 - part) + faded[lower + 1] * part
    return _normalise(kernel, (r <= radius).to(kernel.dtype)).to(torch.float32)


def _normalise(kernel: Tensor, support: Tensor) -> Tensor:
    """Zero mean over the support, zero outside, squares summing to 1; sums in a fixed order."""
    kernel = kernel * support
    mean = kernel.sum(-1).cumsum(0)[-1] / support.sum(-1).cumsum(0)[-1]
    kernel = (kernel - mean) * support
    return kernel / torch.sqrt((kernel**2).sum(-1).cumsum(0)[-1])
