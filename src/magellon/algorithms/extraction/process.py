"""The whole treatment of cut boxes, in RELION's order."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from magellon.algorithms.extraction.boxes import crop_boxes
from magellon.algorithms.extraction.normalise import Background, normalise_boxes, remove_dust, subtract_plane
from magellon.algorithms.extraction.rescale import rescale_boxes
from magellon.units import Pixel

_BATCH_PIXELS = 1 << 22
"""Pixels cut at once: small enough to stay in memory and near the cache, large enough to keep the cores busy."""


@dataclass(frozen=True)
class BoxRecipe:
    """What is done to a box after it is cut."""

    size: Pixel
    """Of the result; smaller than the box cut: rescaled."""
    background_radius: Pixel
    """In pixels of the result."""
    white_dust: float = 0.0
    black_dust: float = 0.0
    """Standard deviations; 0: no dust removal."""
    plane: bool = True
    normalise: bool = True
    invert: bool = True


def process_boxes(boxes: Tensor, recipe: BoxRecipe, generator: torch.Generator) -> Tensor:
    """Rescale, remove dust, subtract a plane, normalise and invert (..., n, n); gives (..., size, size)."""
    boxes = rescale_boxes(boxes, recipe.size)
    if recipe.normalise:
        boxes = boxes.double()
        background = Background.of_box(recipe.size, recipe.background_radius, boxes.device)
        boxes = remove_dust(boxes, background, recipe.white_dust, recipe.black_dust, generator)
        if recipe.plane:
            boxes = subtract_plane(boxes, background)
        boxes = normalise_boxes(boxes, background).float()
    return -boxes if recipe.invert else boxes


def extract_boxes(image: Tensor, centres: Tensor, box: Pixel, recipe: BoxRecipe, seed: int = 0) -> Iterator[Tensor]:
    """Cut and treat the boxes of one micrograph, a few megabytes at a time.

    Args:
        image: (height, width) float32.
        centres: (n, 2) int64, (y, x).
        box: pixels of the micrograph per side, even.
        seed: of the noise that replaces dust.

    Yields:
        (up to batch, size, size) float32, in the order of `centres`.

    Raises:
        ValueError: the background circle does not fit, or the result would be larger than the box.
    """
    if recipe.size > box:
        raise ValueError(f"boxes of {box} px cannot be rescaled to {recipe.size} px: they would grow")
    generator = torch.Generator().manual_seed(seed)
    # A micrograph may have a mean of thousands with a deviation of one: float32 would lose digits in the transforms.
    offset = image.mean(-1).double().mean().float()
    batch = max(1, _BATCH_PIXELS // box**2)
    for part in torch.split(centres, batch):
        boxes = process_boxes(crop_boxes(image, part, box).sub_(offset), recipe, generator)
        yield boxes if recipe.normalise else boxes + (-offset if recipe.invert else offset)
