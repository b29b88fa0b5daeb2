"""The particle's diameter from the micrograph itself: where there is texture, and how far it reaches.

A particle of many domains answers to a filter of its domains' size as well as to one of its own, the more so near focus, where
the CTF takes away what is large. Its texture, the local power of details finer than any particle, does not fall apart like
that: it fills the particle, hollow or not. So the size is looked for in the map of the texture's power, where a disc answers
most at the particle's own size (scale selection: Lindeberg 1998, doi:10.1023/A:1008045108935), and each place is given to the
one size that answers most there. Where the mean power around those of the commonest size ends, the particle ends.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.picking.blobs import cut_windows, inside_border, ring_index
from magellon.algorithms.picking.detection import embed_kernel, fast_size
from magellon.algorithms.picking.field import (
    Field,
    check_image,
    coarsen,
    flatten_background,
    highest_in_window,
    reduce_micrograph,
    resize_mask,
    robust_scale,
    smooth,
)
from magellon.algorithms.picking.mask import mask_field

SMALLEST, STEP, COUNT = 50.0, 1.2, 13
"""Sizes tried: the smallest in Å, the next over it, and how many."""
FINE_CELL, CELL = 3.4, 10.0
"""Of the image and of the map of power, Å."""
FINE_SIGMA, COARSE_SIGMA = 6.0, 20.0
"""Of the Gaussians between which the texture lies, Å."""
CLIP_TEXTURE, CLIP_POWER = 4.0, 6.0
"""In spreads: dirt weighs little more than particles."""
BACKGROUND = 600.0
"""Width of the local mean of the power, Å."""
MASK_DIAMETER = 160.0
"""Of the particle for which contamination is masked while none is known, Å."""
NOISE_SEED, NOISE_SIDE = 20240229, 480
"""Of the noise that tells what chance gives, in cells of the image."""
LEAST_SCORE = 1.8
"""In standard deviations: what may be chance still tells whether the picks are pieces."""
MOST = 4000
"""Candidates that are compared with one another."""
RING = 1.6
"""Of a disc's surrounding ring over the disc, outer diameters."""
SIDE_SHARE = 3.0
"""An image holds at least so many particles side by side."""
AREA_POWER = 0.5
"""Of the size by which scores count: a larger particle stands for more."""
EXTENT = 1.1
"""Radius to which the power is followed, in sizes."""
BLUR = 15.0
"""Å by which the power reaches beyond a particle: 40 of sharply cut ones, less of real ones that thin out."""
EDGE = 0.05
"""Of the power inside: below it the particle has ended."""
CLOSE = 0.75
"""Pairs nearer than the size, of those that chance gives, at which trust is halved: whole particles keep their distance, pieces
of one do not."""
CLEAR_SCORE = 5.0
"""In standard deviations: chance does not reach it; what counts as evidence."""
FALLBACK = 160.0


@dataclass(frozen=True)
class DiameterProposal:
    """A diameter in Å and how far to trust it.

    Attributes:
        confidence: 0..1; below 0.5 the micrograph shows too little, and the diameter should be given.
        picks: particles it was measured on.
        agreement: part of the micrographs, 0..1, in which about this size is the commonest.
    """

    diameter: float
    confidence: float
    picks: int
    agreement: float = 1.0


@dataclass(frozen=True)
class View:
    """What a micrograph says about sizes; the tensors hold a thousandth of its pixels.

    Attributes:
        power: (height, width) flattened power of the texture, in spreads of the ice's.
        cell: of `power`, Å.
        positions: (n, 2) cells (y, x) of what stands out.
        scores: (n,) float64, in standard deviations.
        sizes: (n,) int64, index of the size that answers most.
        limits: least and greatest diameter that can be proposed, Å.
        area: where particles may be, Å².
        sharpness: 0..1, how much of the texture the pixels resolve.
    """

    power: Tensor
    cell: float
    positions: Tensor
    scores: Tensor
    sizes: Tensor
    limits: tuple[float, float]
    area: float
    sharpness: float


def propose_diameter(image: Tensor, pixel_size: float) -> DiameterProposal:
    """Propose the longest extent of the particles in a micrograph.

    Args:
        image: (height, width), particles dark.
        pixel_size: Å/px.

    Raises:
        BadInput: not an image, NaN, constant, or an impossible pixel size.
    """
    return propose_from_views([reduce_for_search(image, pixel_size)])


def reduce_for_search(image: Tensor, pixel_size: float) -> View:
    """What `propose_from_views` needs of a micrograph.

    Raises:
        BadInput: as `propose_diameter`.
    """
    check_image(image, pixel_size)
    fine = reduce_micrograph(image, pixel_size, FINE_CELL)
    side = min(image.shape) * pixel_size
    usable = mask_field(fine, min(MASK_DIAMETER, side / 4))
    texture = measure_texture(fine)
    usable = resize_mask(usable, texture)
    power = flatten_background(texture.image, usable, BACKGROUND / texture.pixel_size)
    power = _scale_power(power, usable)
    found = find_sizes(power, usable, texture.pixel_size, measure_chance(fine))
    area = float(usable.sum()) * texture.pixel_size**2
    limits = max(4 * pixel_size, min(SMALLEST, side / 2)), side / 2
    sharpness = min(1.0, FINE_CELL / fine.pixel_size) ** 2
    return View(power, texture.pixel_size, *found, limits, area, sharpness)


def measure_chance(field: Field) -> float:
    """Standard deviation of what discs answer to the texture of white noise in cells as the field's, mean over the sizes."""
    generator = torch.Generator().manual_seed(NOISE_SEED)
    noise = torch.randn(NOISE_SIDE, NOISE_SIDE, generator=generator).to(field.image.device)
    texture = measure_texture(Field(noise, field.pixel_size, field.binning))
    everywhere = torch.ones(texture.shape, dtype=torch.bool, device=noise.device)
    power = _scale_power(texture.image - texture.image.mean(dtype=torch.float64).to(noise.dtype), everywhere)
    transform = torch.fft.rfft2(power).abs().to(torch.float64).square()
    radius = (min(power.shape) - 1) // 2
    spreads = []
    for size in list_sizes():
        kernel = embed_kernel(disc_kernel(size / texture.pixel_size, radius, power), texture.shape)
        product = transform * torch.fft.rfft2(kernel).abs().to(torch.float64).square()
        # By Parseval; columns but the first stand for two.
        total = float((2 * product.sum(0).cumsum(0)[-1] - product[:, 0].cumsum(0)[-1]) / power.numel() ** 2)
        spreads.append(math.sqrt(max(total, 1e-12)))
    return sum(spreads) / len(spreads)


def _scale_power(power: Tensor, usable: Tensor) -> Tensor:
    """In spreads of the usable part, limited; 0 where not usable or without spread."""
    spread = robust_scale(power[usable])[1]
    return (power / spread).clamp(max=CLIP_POWER) * usable if spread > 0 else torch.zeros_like(power)


def measure_texture(field: Field) -> Field:
    """Local power of the details finer than any particle: a coarser field, positive."""
    cell = field.pixel_size
    band = smooth(field.image, FINE_SIGMA / cell) - smooth(field.image, COARSE_SIGMA / cell)
    centre, spread = robust_scale(band.flatten())
    power = ((band - centre) / max(spread, 1e-20)).clamp(-CLIP_TEXTURE, CLIP_TEXTURE) ** 2
    return coarsen(Field(power, cell, field.binning), max(1, round(CELL / cell)))


def find_sizes(power: Tensor, usable: Tensor, cell: float, chance: float) -> tuple[Tensor, Tensor, Tensor]:
    """Give every place of high power to the disc that answers most there.

    Args:
        power: (height, width), flattened, of unit spread.
        usable: (height, width) bool.
        cell: Å.
        chance: standard deviation of the answer for noise.

    Returns:
        `positions`, `scores` and `sizes` of a `View`, highest score first.
    """
    height, width = power.shape
    sizes = [size for size in list_sizes() if size < min(height, width) * cell / SIDE_SHARE]
    margin = math.ceil(RING * (sizes[-1] if sizes else 0) / cell / 2) + 1
    padded = (fast_size(height + margin), fast_size(width + margin))
    transform = torch.fft.rfft2(power, s=padded)
    places, scores, indices = [torch.zeros(0, 2, dtype=torch.long)], [torch.zeros(0, dtype=torch.float64)], []
    for index, size in enumerate(sizes):
        kernel = disc_kernel(size / cell, margin, power)
        answer = torch.fft.irfft2(transform * torch.fft.rfft2(embed_kernel(kernel, padded)).conj(), s=padded)[:height, :width]
        answer = answer / max(chance, 1.0)
        allowed = usable & inside_border(power.shape[:2], 0.5 * size / cell + 1, power.device)  # type: ignore[arg-type]
        masked = answer.masked_fill(~allowed, -torch.inf)
        peaks = (masked == highest_in_window(masked, 2 * max(1, round(0.25 * size / cell)) + 1)) & (masked >= LEAST_SCORE)
        cells = peaks.nonzero()
        places.append(cells.cpu())
        scores.append(answer[cells[:, 0], cells[:, 1]].to(torch.float64).cpu())
        indices.append(torch.full((cells.shape[0],), index))
    place, score = torch.cat(places), torch.cat(scores)
    chosen = torch.cat(indices) if indices else torch.zeros(0, dtype=torch.long)
    order = torch.sort(score, descending=True, stable=True).indices[:MOST]
    place, score, chosen = place[order], score[order], chosen[order]
    kept = keep_best(place * cell, torch.tensor(list_sizes(), dtype=torch.float64)[chosen] / 2)
    return place[kept], score[kept], chosen[kept]


def list_sizes() -> list[float]:
    """The sizes tried, Å."""
    return [SMALLEST * STEP**index for index in range(COUNT)]


def disc_kernel(cells: float, radius: int, like: Tensor) -> Tensor:
    """A disc of this diameter less the ring around it, (2 radius + 1, same): without a mean, the disc's squares sum to 1."""
    y = torch.arange(-radius, radius + 1, dtype=torch.float64, device=like.device)
    r = torch.sqrt(y[:, None] ** 2 + y[None, :] ** 2)
    disc = (cells / 2 + 0.5 - r).clamp(0, 1)
    ring = (RING * cells / 2 + 0.5 - r).clamp(0, 1) - disc
    disc, ring = disc / disc.sum(), ring / ring.sum()
    kernel: Tensor = (disc - ring) / torch.sqrt((disc**2).sum())
    return kernel.to(like.dtype)


def keep_best(positions: Tensor, reach: Tensor) -> Tensor:
    """Which positions, given best first, have no kept better one within either's reach: (n,) bool."""
    distance = torch.cdist(positions.to(torch.float64), positions.to(torch.float64))
    conflict = (distance < torch.maximum(reach[:, None], reach[None, :])).tril(-1)
    kept = torch.zeros(len(positions), dtype=torch.bool)
    undecided = ~kept
    while bool(undecided.any()):
        winners = undecided & ~(conflict & undecided[None, :]).any(1)
        kept |= winners
        undecided &= ~winners & ~(conflict & winners[None, :]).any(1)
    return kept


def propose_from_views(views: Sequence[View]) -> DiameterProposal:
    """Propose one diameter for several micrographs: their commonest size, and the extent of what has about this size."""
    low, high = max(view.limits[0] for view in views), min(view.limits[1] for view in views)
    votes = [_count_sizes(view) for view in views]
    together = torch.stack(votes).cumsum(0)[-1]
    if float(together.max()) == 0:
        return DiameterProposal(max(low, min(FALLBACK, high)), 0.0, 0, 0.0)
    best = int(together.argmax())
    agreement = sum(float(vote.max()) > 0 and abs(int(vote.argmax()) - best) <= 1 for vote in votes) / len(views)
    size = list_sizes()[best]
    chosen = [(view.sizes - best).abs() <= 1 for view in views]
    scores = torch.cat([view.scores[mask] for view, mask in zip(views, chosen, strict=True)])
    extent = _measure_extent(views, chosen, size)
    if extent is None:
        return DiameterProposal(max(low, min(size, high)), 0.0, scores.numel(), round(agreement, 3))
    number = 1 - math.exp(-int((scores >= CLEAR_SCORE).sum()) / 10)
    apart = 1 / (1 + (_count_close(views, chosen, size) / CLOSE) ** 4)
    confidence = number * apart * min(view.sharpness for view in views)
    return DiameterProposal(max(low, min(extent, high)), round(confidence, 3), scores.numel(), round(agreement, 3))


def _count_sizes(view: View) -> Tensor:
    """How much is found of each size, neighbours counting half: (COUNT,) float64."""
    sizes = torch.tensor(list_sizes(), dtype=torch.float64)
    found = torch.nn.functional.one_hot(view.sizes, COUNT) * (view.scores * sizes[view.sizes] ** AREA_POWER)[:, None]
    counts = torch.cat([torch.zeros(1, COUNT, dtype=torch.float64), found]).cumsum(0)[-1]
    padded = torch.nn.functional.pad(counts, (1, 1))
    return counts + 0.5 * (padded[:-2] + padded[2:])


def _count_close(views: Sequence[View], chosen: Sequence[Tensor], size: float) -> float:
    """Pairs nearer than the size, but not as near as suppression forbids, over the number that chance would give."""
    pairs, chance = 0.0, 0.0
    for view, mask in zip(views, chosen, strict=True):
        places = view.positions[mask].to(torch.float64) * view.cell
        distance = torch.cdist(places, places)
        pairs += int(((distance >= 0.5 * size) & (distance < size)).sum())
        chance += len(places) * (len(places) - 1) * math.pi * size**2 * 0.75 / max(view.area, 1.0)
    return pairs / chance if chance > 0 else 0.0


def _measure_extent(views: Sequence[View], chosen: Sequence[Tensor], size: float) -> float | None:
    """Diameter in Å at which the mean power around what is found ends; None when there is nothing to average."""
    rings = math.ceil(EXTENT * size / CELL)
    profiles = [_mean_profiles(view, mask, rings) for view, mask in zip(views, chosen, strict=True)]
    stacked = torch.cat(profiles)
    if stacked.shape[0] == 0:
        return None
    return 2 * CELL * find_edge(stacked.cumsum(0)[-1] / stacked.shape[0], size / CELL) - BLUR


def _mean_profiles(view: View, mask: Tensor, rings: int) -> Tensor:
    """Mean power over rings of each window that lies inside, at radii of whole CELLs: (n, rings + 1) float64."""
    radius = math.ceil(rings * CELL / view.cell) + 1
    if min(view.power.shape) <= 2 * radius:
        return torch.zeros(0, rings + 1, dtype=torch.float64)
    windows = cut_windows(view.power, view.positions[mask].to(view.power.device), radius).to(torch.float64)
    ring = ring_index(2 * radius + 1, windows.device)
    sums = torch.zeros(windows.shape[0], int(ring.max()) + 1, dtype=torch.float64, device=windows.device)
    means = sums.index_add_(1, ring, windows.flatten(1)) / torch.bincount(ring)
    place = torch.arange(rings + 1, dtype=torch.float64, device=windows.device) * CELL / view.cell
    lower = place.floor().long()
    part = place - lower
    return (means[:, lower] * (1 - part) + means[:, lower + 1] * part).cpu()


def find_edge(profile: Tensor, cells: float) -> float:
    """Radius at which a profile first falls to the edge's level, from its floor to its height inside, for this diameter."""
    excess = profile - profile[len(profile) // 4 :].min()
    inside = excess[: max(2, int(0.4 * cells))].max()
    start = min(int(cells / 4), len(profile) - 1)
    below = (excess[start:] < EDGE * inside).nonzero()
    index = start + int(below[0]) if below.numel() else len(profile) - 1
    if index == 0:
        return cells / 2
    before, after = float(excess[index - 1]), float(excess[index])
    part = (before - EDGE * float(inside)) / max(before - after, 1e-12)
    return index - 1 + min(max(part, 0.0), 1.0)
