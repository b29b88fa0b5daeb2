"""A micrograph in, a denoised one out."""

import math

import torch
from torch import Tensor

from magellon.algorithms.ctf import Microscope
from magellon.algorithms.denoising.blend import Blend
from magellon.algorithms.denoising.gate import measure_gate
from magellon.algorithms.denoising.noise import measure_level
from magellon.algorithms.denoising.scale import (
    PIXEL_SIZE,
    enlarge_image,
    enlarge_smooth,
    pick_fine,
    plan_scale,
    reduce_image,
    reduced_frequencies,
)
from magellon.algorithms.denoising.thon import find_rings
from magellon.algorithms.denoising.tiles import Progress, Run, run_in_tiles
from magellon.errors import BadInput

SMALLEST_SIDE, SMALLEST_FIELD = 32, 128.0
"""Pixels, and Å."""
COARSEST = 12.0
"""Å/px: beyond, a particle is a dot and the network has never seen such images."""
LARGEST = 1e12
"""Of the values: far more electrons than any exposure has, and what sums and squares of single precision still hold."""


def denoise_image(
    image: Tensor,
    pixel_size: float,
    run: Run,
    progress: Progress = lambda fraction: None,
    *,
    blend: Blend | None = None,
    microscope: Microscope | None = None,
) -> Tensor:
    """The expected micrograph, free of shot noise as far as its surroundings tell.

    Args:
        image: (height, width) float32, in any units.
        pixel_size: Å.
        run: the network, on standardised images at its own scale.
        blend: weighs what it says; None: it alone.
        microscope: with which the Thon rings are looked for that the CTF leaves; None: they are not.

    Returns:
        The same shape and units. Beyond 1/8 Å it is the micrograph, faintly, more where there is something to see.

    Raises:
        BadInput: not a 2D image, too small, too coarse, constant, with NaN or infinity, or with enormous values.
    """
    check_micrograph(image, pixel_size)
    scale = plan_scale((image.shape[0], image.shape[1]), pixel_size)
    reduced = reduce_image(image, scale)
    # On the micrograph itself: a mirror image holds its frequencies twice or not at all.
    level = measure_level(image, scale.limit_px).rescaled(scale.pixels_kept)
    standard = level.standardise(reduced)
    predicted = run_in_tiles(standard, run, progress)
    gate = measure_gate(predicted)
    blend = blend or Blend()
    rings = find_rings(image, pixel_size, microscope) if microscope else None
    passing = rings.weigh(*reduced_frequencies(scale, pixel_size, image.device)) if rings else None
    denoised = enlarge_image(level.restore(blend.mix(predicted, standard, gate, passing)), scale)
    if pixel_size < math.sqrt(2) * PIXEL_SIZE:  # coarser ones hold nothing beyond, corners of their transform included
        plain, gated = blend.beyond
        weight = enlarge_smooth(gate, scale).mul_(gated).add_(plain)
        denoised += pick_fine(image, scale, pixel_size, rings).mul_(weight)
    return denoised


def check_micrograph(image: Tensor, pixel_size: float) -> None:
    """Refuse what cannot be denoised.

    Raises:
        BadInput: as `denoise_image`.
    """
    if image.ndim != 2 or min(image.shape) < SMALLEST_SIDE:
        raise BadInput(f"image of shape {tuple(image.shape)}: denoising needs two dimensions of at least {SMALLEST_SIDE} px")
    if not (math.isfinite(pixel_size) and 0.1 <= pixel_size <= COARSEST):
        raise BadInput(f"pixel size {pixel_size} Å/px: denoising needs one from 0.1 to {COARSEST:g}")
    if min(image.shape) * pixel_size < SMALLEST_FIELD:
        field = min(image.shape) * pixel_size
        raise BadInput(
            f"a field of {field:.0f} Å across: denoising needs at least {SMALLEST_FIELD:g} Å to tell noise from specimen"
        )
    low, high = (float(value) for value in torch.aminmax(image))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise BadInput(f"image holds {int((~torch.isfinite(image)).sum())} values that are NaN or infinite; none are allowed")
    if max(-low, high) > LARGEST:
        raise BadInput(f"image holds values from {low:.3g} to {high:.3g}; denoising needs them within ±{LARGEST:g}")
    if low == high:
        raise BadInput(f"image is constant (every value is {low:g}): nothing to denoise")
