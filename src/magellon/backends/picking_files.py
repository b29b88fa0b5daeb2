"""The files every picker of ours writes: coordinates for RELION and a picture for people."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from magellon.algorithms.picking.field import smooth
from magellon.algorithms.picking.peaks import Peaks
from magellon.contracts import Micrograph, PickingOutput, Picks
from magellon.io.picture import PERCENTILES
from magellon.io.star import StarTable, write_star

PICTURE_SIZE = 1024
CIRCLE = (255, 214, 10)
TINT = (255, 64, 64)


def write_picking_output(
    folder: Path, micrograph: Micrograph, image: Tensor, diameter: float, peaks: Peaks, usable: Tensor
) -> PickingOutput:
    """Write both files into `folder` and describe them.

    Args:
        image: (height, width), the micrograph's pixels.
        diameter: Å.
        usable: (h, w) bool of any size, stretched over the image.
    """
    star, picture = (folder / f"{micrograph.name}_{end}" for end in ("autopick.star", "picks.png"))
    write_autopick_star(star, peaks)
    write_picks_picture(picture, image, diameter / micrograph.pixel_size, peaks, usable)
    masked = int((~usable).sum()) / usable.numel()
    picks = Picks(path=star, count=len(peaks), diameter=diameter)
    return PickingOutput(picks=picks, picture=picture, masked_fraction=round(masked, 4))


def write_autopick_star(path: Path, peaks: Peaks) -> None:
    """Write `NAME_autopick.star`, best first: 0-based coordinates in pixels, score, class from 1 and psi if there are."""
    x, y = peaks.coordinates[:, 0].tolist(), peaks.coordinates[:, 1].tolist()
    table = {
        "rlnCoordinateX": [f"{value:.3f}" for value in x],
        "rlnCoordinateY": [f"{value:.3f}" for value in y],
        "rlnAutopickFigureOfMerit": [f"{value:.4f}" for value in peaks.scores.tolist()],
    }
    if peaks.classes is not None:
        table["rlnClassNumber"] = [str(value + 1) for value in peaks.classes.tolist()]
    if peaks.angles is not None:
        table["rlnAnglePsi"] = [f"{value:.2f}" for value in peaks.angles.tolist()]
    write_star(path, {"": StarTable(table)})


def write_picks_picture(path: Path, image: Tensor, diameter_px: float, peaks: Peaks, usable: Tensor) -> None:
    """Write `draw_picks` as PNG."""
    draw_picks(image, diameter_px, peaks, usable).save(path, format="PNG", compress_level=2)  # a quarter of the usual time


def draw_picks(image: Tensor, diameter_px: float, peaks: Peaks, usable: Tensor) -> Image.Image:
    """Draw circles of the particle's diameter over the low-passed micrograph; what was left out is tinted.

    Args:
        image: (height, width), the micrograph.
        diameter_px: in its pixels.
        usable: (h, w) bool of any size, stretched over the image.
    """
    smoothed = _low_pass(image, diameter_px)
    scale = image.shape[1] / smoothed.shape[1]
    excluded = Image.fromarray((~usable.cpu().numpy()).astype(np.uint8)).resize(
        (smoothed.shape[1], smoothed.shape[0]), Image.Resampling.NEAREST
    )
    inside = np.asarray(excluded) > 0
    # Contrast of the part that was picked: a dark crystal must not take it all.
    low, high = np.percentile(smoothed[~inside] if not inside.all() else smoothed, PERCENTILES)
    grey = np.rint(np.clip((smoothed - low) * (255 / max(high - low, 1e-12)), 0, 255)).astype(np.uint8)
    picture = Image.fromarray(grey).convert("RGB")
    if inside.any():
        picture.paste(Image.blend(picture, Image.new("RGB", picture.size, TINT), 0.25), mask=Image.fromarray(inside))
    draw = ImageDraw.Draw(picture)
    radius = max(diameter_px / scale / 2, 2.0)
    width = 2 if grey.shape[1] > 700 else 1
    for x, y in ((peaks.coordinates + 0.5) / scale - 0.5).tolist():
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=CIRCLE, width=width)
    return picture


def _low_pass(image: Tensor, diameter_px: float) -> NDArray[np.float32]:
    """At most 1024 px and smoothed to about a tenth of the particle, as particles are seen best."""
    factor = -(-max(image.shape) // PICTURE_SIZE)
    small = image.cpu().to(torch.float32)
    if factor > 1:
        sides = [min(factor, side) for side in image.shape]
        small = torch.nn.functional.avg_pool2d(small[None, None], sides)[0, 0]
    sigma = min(diameter_px * small.shape[1] / image.shape[1] / 20, 8.0)
    if sigma > 0.5 and min(small.shape) > 1:
        small = smooth(small, sigma)
    smoothed: NDArray[np.float32] = small.numpy()
    return smoothed
