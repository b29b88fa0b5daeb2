"""What is not ice with particles: contamination, carbon, aggregates, holes through the ice.

Particles and fringes are small: a closing and an opening with a window wider than a particle flatten them to the level of the
ice around, while anything larger keeps its level and its edge. Ice thickness changes slowly; contamination and carbon have
edges. Edges cut the micrograph into regions, of which the large bright one is ice; whatever lies far from its level is not.
(Morphological filtering: Serra 1982, Image Analysis and Mathematical Morphology.)
"""

import math

import torch
from scipy import ndimage
from torch import Tensor

from magellon.algorithms.picking.field import (
    Field,
    check_diameter,
    check_image,
    coarsen,
    fit_polynomial,
    highest_in_window,
    reduce_micrograph,
    robust_scale,
    smooth,
)

MASK_CELLS_PER_DIAMETER = 9
WINDOW_DIAMETERS = 1.25
"""Side of the square window of closing and opening: a particle never fills it."""
EDGE_RATIO = 5.0
"""A change of level within half a diameter that is this many times the ice's typical one is an edge."""
ROUNDS = 3
"""Of finding edges, then the ice between them, whose typical change makes the edges clearer."""
LEVEL_SIGMAS = 6.0
"""A region or cell this far from the ice's level, in the ice's own spread, is no ice."""
LEAST_CONTRAST = 2.0
"""In standard deviations of the smoothed noise: what differs less is left in, however even the ice is."""
LEAST_AREA = 1.0
"""Of a region that is left out, in squared diameters: smaller is chance, and what is smaller is not a risk to many picks."""
LEAST_REGION = 0.1
"""Of the usable area: ice is the brightest region at least this large."""


def mask_contamination(image: Tensor, pixel_size: float, diameter: float, margin: float = 0.5) -> Tensor:
    """Find where particles should not be picked.

    Args:
        image: (height, width).
        pixel_size: Å/px.
        diameter: of the particle, Å.
        margin: by which the regions are grown, in diameters.

    Returns:
        (h, w) bool, True where usable, on a coarser grid stretched over the image.

    Raises:
        BadInput: not an image, NaN, constant, or an impossible diameter.
    """
    check_image(image, pixel_size)
    check_diameter(diameter, (image.shape[0], image.shape[1]), pixel_size)
    return mask_field(reduce_micrograph(image, pixel_size, diameter / MASK_CELLS_PER_DIAMETER), diameter, margin)


def mask_field(field: Field, diameter: float, margin: float = 0.5) -> Tensor:
    """`mask_contamination` on a micrograph that is reduced already, perhaps less: (h, w) bool, True where usable."""
    field = coarsen(field, round(diameter / field.pixel_size / MASK_CELLS_PER_DIAMETER))
    cells = diameter / field.pixel_size
    image = field.image - field.image.median()
    sigma = cells / 6
    smoothed = smooth(image, sigma)
    level = remove_small(smoothed, 2 * math.ceil(WINDOW_DIAMETERS * cells / 2) + 1)
    least = LEAST_CONTRAST * _smoothed_noise(image, sigma)
    edges, ice = _divide(level, cells, least)
    bad = edges | _off_level(level, ice, least)
    bad = _drop_small(bad, LEAST_AREA * cells**2)
    if bool(bad.any()):
        bad = _grow_into_dark(bad, smoothed, level, ice, cells, least)
    bad = bad | _odd_grain(image, ice, cells)
    return ~grow_mask(bad, (margin - 0.25) * cells) if bool(bad.any()) else ~bad


def grow_mask(mask: Tensor, radius: float) -> Tensor:
    """Every cell within `radius` cells of the mask: (height, width) bool."""
    reach = math.ceil(radius)
    if reach <= 0:
        return mask
    y = torch.arange(-reach, reach + 1, device=mask.device)
    disc = ((y[:, None] ** 2 + y[None, :] ** 2) <= radius**2).to(torch.float32)
    height, width = mask.shape
    shape = (height + 2 * reach, width + 2 * reach)
    product = torch.fft.rfft2(mask.to(torch.float32), s=shape) * torch.fft.rfft2(disc, s=shape)
    counts: Tensor = torch.fft.irfft2(product, s=shape)
    return counts[reach : reach + height, reach : reach + width] > 0.5


def remove_small(image: Tensor, window: int) -> Tensor:
    """Closing, then opening with a square window: things smaller than it vanish, dark ones first; edges stay in place."""
    closed = -highest_in_window(-highest_in_window(image, window), window)
    return highest_in_window(-highest_in_window(-closed, window), window)


def _divide(level: Tensor, cells: float, least: float) -> tuple[Tensor, Tensor]:
    """Edges, where the level changes within half a diameter by much more than it usually does in the ice; and the ice."""
    window = 2 * math.ceil(cells / 4) + 1
    change = highest_in_window(level, window) + highest_in_window(-level, window)
    ice = torch.ones_like(level, dtype=torch.bool)
    edges = ~ice
    for _ in range(ROUNDS):
        edges = change > max(EDGE_RATIO * float(change[ice].median()), least)
        if bool(edges.all()):
            return ~edges, edges
        ice = _find_ice(level, edges)
    return edges, ice


def _find_ice(level: Tensor, edges: Tensor) -> Tensor:
    """The brightest large region between the edges; everything when edges leave no large region."""
    labels, count = ndimage.label((~edges).cpu().numpy())
    regions = torch.from_numpy(labels).to(level.device)
    sizes = torch.bincount(regions.flatten(), minlength=count + 1)[1:]
    large = (sizes >= LEAST_REGION * (~edges).sum()).nonzero().squeeze(-1) + 1
    if large.numel() == 0:
        return ~edges
    medians = [float(level[regions == label].median()) for label in large.tolist()]
    return regions == int(large[medians.index(max(medians))])


def _off_level(level: Tensor, ice: Tensor, least: float) -> Tensor:
    """Cells far from the level of the ice, which may slope."""
    flat = level - fit_polynomial(level, ice, order=2)
    centre, spread = robust_scale(flat[ice])
    return (flat - centre).abs() > max(LEVEL_SIGMAS * spread, least)


def _grow_into_dark(bad: Tensor, smoothed: Tensor, level: Tensor, ice: Tensor, cells: float, least: float) -> Tensor:
    """Add what hangs together with a bad region within a diameter and is as dark as one: ends that the window filled in."""
    surface = fit_polynomial(level, ice, order=2)
    _, spread = robust_scale((level - surface)[ice])
    dark = (smoothed - surface) < -max(LEVEL_SIGMAS * spread, 2 * least)
    for _ in range(math.ceil(cells / 2)):
        wider = bad | (dark & (highest_in_window(bad.to(smoothed.dtype), 5) > 0))
        if torch.equal(wider, bad):
            break
        bad = wider
    return bad


def _drop_small(mask: Tensor, area: float) -> Tensor:
    """Without connected parts (8-connected) of fewer cells than `area`."""
    labels, count = ndimage.label(mask.cpu().numpy(), structure=torch.ones(3, 3).numpy())
    regions = torch.from_numpy(labels).to(mask.device)
    sizes = torch.bincount(regions.flatten(), minlength=count + 1)
    return mask & (sizes[regions.long()] >= area)


def _odd_grain(image: Tensor, ice: Tensor, cells: float) -> Tensor:
    """Where the fine grain is much stronger or weaker than in the ice: carbon, crystals, broken ice."""
    grain = image - smooth(image, 1.0)
    strength = torch.log(smooth(grain**2, cells).clamp(min=1e-20))
    flat = strength - fit_polynomial(strength, ice, order=2)
    centre, spread = robust_scale(flat[ice])
    # The mean of n squares of noise varies by sqrt(2 / n); structure must stand out from that as well.
    least = math.sqrt(2 / (4 * math.pi * cells**2))
    return (flat - centre).abs() > 2 * LEVEL_SIGMAS * max(spread, least)


def _smoothed_noise(image: Tensor, sigma: float) -> float:
    """Standard deviation that white noise of the image's grain has after `smooth`."""
    _, spread = robust_scale((image[:, 1:] - image[:, :-1]).flatten())
    return spread / math.sqrt(2) / (2 * math.sqrt(math.pi) * max(sigma, 0.3))
