"""Picking by correlation with templates: a matched filter with local normalisation, all rotations batched.

Each turned template is multiplied with the micrograph's CTF, as the particle's image was, and scaled so that noise gives a
standard deviation of 1. The score is divided by the local standard deviation under the template's mask (Roseman 2003,
doi:10.1016/S0304-3991(02)00333-9), so that contrast alone does not count.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.optics import CtfModel, ctf_rfft
from magellon.algorithms.picking.blobs import (
    BACKGROUND_DIAMETERS,
    CLIP_SIGMAS,
    empty_peaks,
    find_too_dark,
    inside_border,
    measure_noise,
)
from magellon.algorithms.picking.detection import NOISE_SEED, Candidates, fast_size
from magellon.algorithms.picking.field import (
    Field,
    check_diameter,
    check_image,
    flatten_background,
    reduce_micrograph,
    resize_mask,
    smooth,
)
from magellon.algorithms.picking.mixture import NoisePeaks, fit_scores, measure_noise_peaks
from magellon.algorithms.picking.peaks import Peaks, find_maxima
from magellon.algorithms.picking.templates import low_pass, make_positive, turn_templates
from magellon.errors import BadInput

NOISE_SIDE = 112
"""Of the simulated noise, in cells, besides the margins."""
BATCH_CELLS = 8_000_000
"""Of score maps held at once."""


@dataclass(frozen=True)
class TemplateSettings:
    """How to pick with templates.

    Attributes:
        angle_step: between in-plane rotations, degrees.
        resolution: templates and micrograph are compared down to this, Å; None: a ninth of the diameter, 20 Å at best.
        threshold: score above which candidates are picked; None: from the data.
        separation: least distance of two picks, in diameters.
        border: least distance of a centre from the image's edge, in diameters.
    """

    angle_step: float = 10.0
    resolution: float | None = None
    threshold: float | None = None
    separation: float = 0.5
    border: float = 0.5

    def comparison_resolution(self, diameter: float) -> float:
        """In Å."""
        return self.resolution if self.resolution is not None else max(20.0, diameter / 9)

    def cell(self, diameter: float) -> float:
        """Å per cell of the reduced micrograph that holds this resolution."""
        return self.comparison_resolution(diameter) / 2.3


@dataclass(frozen=True)
class Templates:
    """2D templates.

    Attributes:
        images: (k, n, n), centre at [n // 2, n // 2]; either contrast.
        pixel_size: Å/px.
    """

    images: Tensor
    pixel_size: float


def pick_templates(
    image: Tensor,
    pixel_size: float,
    diameter: float,
    templates: Templates,
    settings: TemplateSettings = TemplateSettings(),
    ctf: CtfModel | None = None,
    usable: Tensor | None = None,
) -> Peaks:
    """Pick what looks like the templates in any in-plane rotation, dark on bright.

    Args:
        image: (height, width).
        pixel_size: Å/px.
        diameter: of the particle, Å; also of the mask around the templates.
        ctf: of the micrograph; None: the templates are taken as they are, turned dark.
        usable: (h, w) bool of any size, stretched over the image: False where nothing is to be picked.

    Returns:
        Picks with angles and classes, best first; scores in standard deviations of the noise.

    Raises:
        BadInput: not an image, NaN, constant, or impossible diameter, templates or resolution.
    """
    check_image(image, pixel_size)
    check_diameter(diameter, (image.shape[0], image.shape[1]), pixel_size)
    check_templates(templates, diameter, settings)
    field = reduce_micrograph(image, pixel_size, settings.cell(diameter))
    return pick_field_templates(field, diameter, templates, settings, ctf, resize_mask(usable, field))


def pick_field_templates(
    field: Field, diameter: float, templates: Templates, settings: TemplateSettings, ctf: CtfModel | None, usable: Tensor
) -> Peaks:
    """`pick_templates` on a micrograph that is reduced already; `usable` has the field's shape."""
    cells = diameter / field.pixel_size
    allowed = usable & inside_border(field.shape, settings.border * cells, field.image.device)
    flat = flatten_background(field.image, usable, BACKGROUND_DIAMETERS * cells)
    noise = measure_noise(flat, usable)
    if noise == 0 or not bool(allowed.any()):
        return empty_peaks(field.image.device)
    flat = (flat / noise).clamp(-CLIP_SIGMAS, CLIP_SIGMAS)
    resolution = max(settings.comparison_resolution(diameter), 2 * field.pixel_size)
    images = make_positive(templates.images.to(flat), diameter / templates.pixel_size)
    images = low_pass(images, templates.pixel_size, resolution)
    steps = max(1, round(360 / settings.angle_step))
    angles = torch.arange(steps, dtype=torch.float64, device=flat.device) * (360 / steps)
    kernels = turn_templates(images, angles, field.pixel_size / templates.pixel_size, cells)
    scores, lowest, index = correlate(flat, kernels, field.pixel_size, ctf)
    spread = _local_spread(flat, usable, cells)
    reach = max(1, round(0.7 * settings.separation * cells))
    candidates, heights = find_maxima(scores / spread, allowed, reach)
    _, troughs = find_maxima(-lowest / spread, allowed, reach)
    noise_peaks = _measure_noise(kernels, field.pixel_size, ctf, reach, int(allowed.sum()))
    model = fit_scores(heights, troughs, noise_peaks)
    found = Candidates(scores / spread, candidates, heights, settings.separation * cells, noise_peaks.highest, model)
    chosen, values = found.accept(settings.threshold)
    kept = ~find_too_dark(field, usable, chosen, cells)
    chosen, values = chosen[kept], values[kept]
    nearest = chosen.round().long()
    best = index[nearest[:, 0].clamp(0, index.shape[0] - 1), nearest[:, 1].clamp(0, index.shape[1] - 1)]
    return Peaks(field.to_micrograph(chosen), values, angles[best % steps], best // steps)


def correlate(flat: Tensor, kernels: Tensor, pixel_size: float, ctf: CtfModel | None) -> tuple[Tensor, Tensor, Tensor]:
    """Highest and lowest correlation over all kernels in units of the noise's deviation, and which kernel gave the highest.

    Args:
        flat: (height, width), noise of unit standard deviation, particles dark.
        kernels: (k, a, m, m), mass positive.
        pixel_size: Å per cell.

    Returns:
        (height, width) float32 each, and (height, width) int64, index into the k * a kernels.
    """
    height, width = flat.shape
    stack = kernels.flatten(0, 1)
    size = stack.shape[-1]
    padded = (fast_size(height + size), fast_size(width + size))
    transform = torch.fft.rfft2(flat, s=padded)
    transfer = -torch.ones(1, device=flat.device) if ctf is None else ctf_rfft(ctf, padded, pixel_size, flat.device)
    best = torch.full((height, width), -torch.inf, device=flat.device)
    lowest = -best
    index = torch.zeros((height, width), dtype=torch.int64, device=flat.device)
    batch = max(1, BATCH_CELLS // (padded[0] * padded[1]))
    for start in range(0, stack.shape[0], batch):
        part = stack[start : start + batch]
        response = torch.fft.fft(torch.fft.rfft(part, n=padded[1], dim=-1), n=padded[0], dim=-2) * transfer
        response = response / _noise_gain(response, padded)
        maps = torch.fft.irfft2(transform * response.conj(), s=padded)
        # The kernel's first cell, not its middle, lies at the origin of its transform: the maps are displaced by half of it.
        maps = torch.roll(maps, (size // 2, size // 2), dims=(-2, -1))[:, :height, :width]
        highest, which = maps.max(dim=0)
        index = torch.where(highest > best, which + start, index)
        best = torch.maximum(best, highest)
        lowest = torch.minimum(lowest, maps.amin(dim=0))
    return best, lowest, index


def _noise_gain(response: Tensor, shape: tuple[int, int]) -> Tensor:
    """Standard deviation that white noise of unit deviation has after each filter: (n, 1, 1)."""
    power = response.abs().square()
    weights = torch.full((response.shape[-1],), 2.0, device=response.device)
    weights[0] = 1.0
    if shape[1] % 2 == 0:
        weights[-1] = 1.0
    total = (power * weights).sum(-1, dtype=torch.float64).cumsum(-1)[:, -1]
    return torch.sqrt(total / (shape[0] * shape[1])).to(torch.float32).clamp(min=1e-12)[:, None, None]


def _local_spread(flat: Tensor, usable: Tensor, cells: float) -> Tensor:
    """Standard deviation around each cell relative to the usual one, not below it: (height, width)."""
    weights = usable.to(flat.dtype)
    variance = smooth(flat**2 * weights, cells / 3) / smooth(weights, cells / 3).clamp(min=1e-3)
    usual = variance[usable].median()
    return torch.sqrt((variance / usual.clamp(min=1e-12)).clamp(min=1.0))


def _measure_noise(kernels: Tensor, pixel_size: float, ctf: CtfModel | None, reach: int, area: int) -> NoisePeaks:
    """What the same kernels give on an empty micrograph."""
    margin = kernels.shape[-1] // 2
    side = NOISE_SIDE + 2 * margin
    generator = torch.Generator().manual_seed(NOISE_SEED)
    noise = torch.randn(side, side, generator=generator).to(kernels)
    scores, _, _ = correlate(noise, kernels, pixel_size, ctf)
    inside = torch.zeros_like(scores, dtype=torch.bool)
    inside[margin : side - margin, margin : side - margin] = True
    _, values = find_maxima(scores, inside, reach)
    return measure_noise_peaks(values, area / NOISE_SIDE**2)


def check_templates(templates: Templates, diameter: float, settings: TemplateSettings) -> None:
    """Refuse templates that are none.

    Raises:
        BadInput: not square, narrower than the particle, NaN, or an impossible angle step.
    """
    images = templates.images
    if images.ndim != 3 or images.shape[-1] != images.shape[-2] or images.shape[0] == 0:
        raise BadInput(f"templates of shape {tuple(images.shape)}: must be square images, at least one")
    if not bool(torch.isfinite(images).all()):
        raise BadInput("templates hold values that are NaN or infinite; none are allowed")
    extent = images.shape[-1] * templates.pixel_size
    if extent < 0.9 * diameter:
        raise BadInput(f"templates are {extent:.4g} Å wide: less than the particle's diameter of {diameter:.4g} Å")
    if not 1 <= settings.angle_step <= 360:
        raise BadInput(f"angle step {settings.angle_step:g}°: must lie between 1° and 360°")
