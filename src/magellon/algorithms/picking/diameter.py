"""The particle's diameter from the micrograph itself: scale space first, then the extent of what stands out.

Differences of Gaussians of many widths are tried (Lindeberg 1998); the width at which typical picks stand out most from the
noise is near the particle's. The picks of that width are then looked at: the radius at which their darkness ends, in any
direction, is the particle's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from magellon.algorithms.picking.blobs import (
    CELLS_PER_DIAMETER,
    FEWEST_FOR_PROFILE,
    DogSettings,
    cut_windows,
    find_particles,
    prepare_field,
    ring_index,
)
from magellon.algorithms.picking.field import Field, check_image, coarsen, reduce_micrograph, resize_mask
from magellon.algorithms.picking.mask import mask_field

SMALLEST, LARGEST = 60.0, 600.0
"""Diameters tried, Å."""
STEP = 1.3
SCAN_CELLS = 10
"""Per diameter in the search."""
DISTINCTNESS = 5
"""Power of the typical score in the search's criterion: pieces of particles are many, whole ones stand out."""
EXTENT = 1.2
"""Radius to which picks are looked at, in diameters of the search."""
EDGE = 0.07
"""Of the typical darkness inside: below it the particle has ended."""
LARGER = 1.0
"""Longest extent over what the edge gives: the last thin ends of a particle never reach the edge's level."""
FALLBACK = 160.0


@dataclass(frozen=True)
class DiameterProposal:
    """A diameter in Å and how far to trust it.

    Attributes:
        confidence: 0..1; below 0.5 the micrograph shows too little, and the diameter should be given.
        picks: particles it was measured on.
        agreement: part of the micrographs, 0..1, in which about this size stands out most.
    """

    diameter: float
    confidence: float
    picks: int
    agreement: float = 1.0


def propose_diameter(image: Tensor, pixel_size: float) -> DiameterProposal:
    """Propose the longest extent of the particles in a micrograph.

    Args:
        image: (height, width), particles dark.
        pixel_size: Å/px.

    Raises:
        BadInput: not an image, NaN, constant, or too small to hold a particle of 60 Å.
    """
    return propose_from_views([reduce_for_search(image, pixel_size)])


@dataclass(frozen=True)
class View:
    """A micrograph reduced for the search, with the diameters that can be looked for in it."""

    field: Field
    smallest: float
    largest: float


def reduce_for_search(image: Tensor, pixel_size: float) -> View:
    """What `propose_from_views` needs of a micrograph: a few per cent of its size.

    Raises:
        BadInput: as `propose_diameter`.
    """
    check_image(image, pixel_size)
    smallest = max(SMALLEST, 6 * pixel_size)
    largest = min(LARGEST, min(image.shape) * pixel_size / 4)
    return View(reduce_micrograph(image, pixel_size, smallest / CELLS_PER_DIAMETER), smallest, largest)


def propose_from_views(views: Sequence[View]) -> DiameterProposal:
    """Propose one diameter for several micrographs: the size at which picks of all of them together stand out most.

    Its extent is the median over micrographs, weighted by how clearly each shows it.
    """
    smallest, largest = max(view.smallest for view in views), min(view.largest for view in views)
    if largest < smallest * STEP:
        middle = min(max(smallest * 2 / 3, largest), FALLBACK)
        return DiameterProposal(middle, 0.0, 0)
    steps = round(math.log(largest / smallest) / math.log(STEP))
    scales = [smallest * (largest / smallest) ** (step / steps) for step in range(steps + 1)]
    merits = [[_measure_merit(view.field, scale) for scale in scales] for view in views]
    together = [sum(column) for column in zip(*merits, strict=True)]
    best = together.index(max(together))
    if together[best] == 0:
        return DiameterProposal(min(FALLBACK, largest), 0.0, 0, 0.0)
    own = [row.index(max(row)) for row in merits if max(row) > 0]
    agreement = sum(abs(index - best) <= 1 for index in own) / len(views)
    extents = [_measure_extent(view.field, scales[best], (smallest, 2 * largest)) for view in views]
    return replace(_weigh(extents), agreement=round(agreement, 3))


def _weigh(proposals: Sequence[DiameterProposal]) -> DiameterProposal:
    """The median proposal, each counted by its confidence and number of particles; doubts multiply, as for witnesses."""
    ordered = sorted(proposals, key=lambda proposal: proposal.diameter)
    weights = [proposal.confidence * proposal.picks + 1e-6 for proposal in ordered]
    half, total = sum(weights) / 2, 0.0
    chosen = ordered[-1]
    for proposal, weight in zip(ordered, weights, strict=True):
        total += weight
        if total >= half:
            chosen = proposal
            break
    confidence = 1 - math.prod(1 - proposal.confidence for proposal in ordered)
    return DiameterProposal(chosen.diameter, round(confidence, 3), sum(proposal.picks for proposal in ordered))


def _measure_merit(fine: Field, diameter: float) -> float:
    """How much picks of this size stand out: their number times a power of their typical score; 0 when there are none."""
    field = coarsen(fine, round(diameter / SCAN_CELLS / fine.pixel_size))
    usable = resize_mask(mask_field(field, diameter), field)
    prepared = prepare_field(field, diameter, DogSettings(), usable)
    if prepared is None:
        return 0.0
    scene, flat = prepared
    found = find_particles(scene, flat, diameter / field.pixel_size, DogSettings(), looks=1)
    scores = found.accept()[1]
    if found.model.gain == 0 or scores.numel() < FEWEST_FOR_PROFILE:
        return 0.0
    share = float(usable.sum()) / usable.numel()
    return scores.numel() / share * float(scores.median()) ** DISTINCTNESS


def _measure_extent(fine: Field, diameter: float, limits: tuple[float, float]) -> DiameterProposal:
    """Where the darkness of the picks of about this size ends."""
    field = coarsen(fine, round(diameter / CELLS_PER_DIAMETER / fine.pixel_size))
    usable = resize_mask(mask_field(field, diameter), field)
    prepared = prepare_field(field, diameter, DogSettings(), usable, 2.0)
    if prepared is None:
        return DiameterProposal(diameter, 0.0, 0)
    scene, flat = prepared
    cells = diameter / field.pixel_size
    found = find_particles(scene, flat, cells, DogSettings())
    positions, scores = found.accept()
    windows = cut_windows(flat, positions[:500], math.ceil(EXTENT * cells))
    if windows.shape[0] < 3:
        return DiameterProposal(diameter, 0.0, int(windows.shape[0]))
    radius, clarity = find_edge(darkness_profile(windows))
    proposal = min(max(2 * radius * field.pixel_size * LARGER, limits[0]), limits[1])
    number = 1 - math.exp(-windows.shape[0] / 10)
    strength = min(float(scores.median()) / 8, 1.0)
    return DiameterProposal(proposal, round(min(number, 1.0) * strength * clarity, 3), int(windows.shape[0]))


def darkness_profile(windows: Tensor) -> Tensor:
    """Mean square of what is darker than the background, over rings of one cell and all windows: (radius + 1,)."""
    size = windows.shape[-1]
    ring = ring_index(size, windows.device)
    dark = (-windows).clamp(min=0).to(torch.float64).square().cumsum(0)[-1] / windows.shape[0]
    sums = torch.zeros(int(ring.max()) + 1, dtype=torch.float64, device=windows.device)
    sums.index_add_(0, ring, dark.flatten())
    return (sums / torch.bincount(ring))[: size // 2 + 1]


def find_edge(profile: Tensor) -> tuple[float, float]:
    """Radius in cells at which the darkness first falls to the edge's level, and how clearly it stands out, 0..1."""
    smooth = torch.nn.functional.avg_pool1d(
        torch.nn.functional.pad(profile[None, None], (1, 1), mode="replicate"), 3, stride=1
    )[0, 0]
    floor = float(smooth[smooth.numel() // 3 :].min())
    excess = smooth - floor
    radii = torch.arange(excess.numel(), dtype=torch.float64, device=profile.device)
    inner = excess[: max(2, int(0.75 * excess.numel()))]
    typical = float(torch.quantile(inner, 0.9))
    if typical <= 0:
        return float(radii[-1]) / 2, 0.0
    peak = int(torch.argmax(excess[: max(2, int(0.6 * excess.numel()))]))
    below = (excess[peak:] < EDGE * typical).nonzero()
    if below.numel() == 0:
        return float(radii[-1]), 0.0
    index = peak + int(below[0])
    high, low = float(excess[index - 1]), float(excess[index])
    part = (high - EDGE * typical) / max(high - low, 1e-12)
    spread = float(excess[index:].std()) if excess.numel() - index > 2 else 0.0
    return index - 1 + min(max(part, 0.0), 1.0), 1.0 / (1.0 + 2 * spread / typical)
