"""`pyramid`: a micrograph as JPEG tiles at every scale from one tile to all its pixels."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from magellon.contracts import Backend, BadInput, Context, Params
from magellon.contracts.preview import PREVIEW, PreviewInput, PreviewOutput
from magellon.io.mrc import read_mrc
from magellon.io.picture import PERCENTILES, contrast
from magellon.units import Pixel


class PyramidParams(Params):
    tile_size: Annotated[Pixel, Field(ge=64, le=2048)] = 512
    """Side of a tile."""
    quality: Annotated[int, Field(ge=30, le=95)] = 85
    """Of the JPEG files."""


class Pyramid(Backend[PreviewInput, PyramidParams, PreviewOutput]):
    """Tiles of the whole micrograph at every scale, each scale at a contrast of its own."""

    contract = PREVIEW
    name = "pyramid"
    version = 1
    Params = PyramidParams

    def run(self, input: PreviewInput, params: PyramidParams, context: Context) -> PreviewOutput:
        image = read_mrc(input.micrograph.path)
        if image.ndim != 2 or min(image.shape) < 2:
            raise BadInput(f"{input.micrograph.path}: shape {image.shape}; tiles are made of one image of at least 2 x 2 px")
        levels = count_levels(image.shape, params.tile_size)
        folder = context.workdir / f"{input.micrograph.name}_tiles"
        shown: NDArray[Any] = np.asarray(image, dtype=np.float32)
        for level in reversed(range(levels)):
            context.progress(1 - (level + 1) / levels, f"level {level}")
            _write_level(shown, folder / str(level), params)
            shown = halve(shown) if level else shown
        height, width = image.shape
        return PreviewOutput(
            tiles=folder, width=width, height=height, tile_size=params.tile_size, levels=levels, percentiles=PERCENTILES
        )


def count_levels(shape: tuple[int, ...], tile_size: int) -> int:
    """How many scales there are until one tile holds the whole."""
    levels, side = 1, max(shape)
    while side > tile_size:
        side, levels = -(-side // 2), levels + 1
    return levels


def halve(image: NDArray[Any]) -> NDArray[Any]:
    """Average blocks of 2 x 2 pixels; an odd last row or column is repeated, so that every pixel shows."""
    padded = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2)), mode="edge")
    mean: NDArray[Any] = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).mean(axis=(1, 3))
    return mean


def _write_level(image: NDArray[Any], folder: Path, params: PyramidParams) -> None:
    """`X_Y.jpg` for each tile of one scale."""
    folder.mkdir(parents=True)
    side = params.tile_size
    picture = contrast(image)
    for top in range(0, picture.shape[0], side):
        for left in range(0, picture.shape[1], side):
            tile = Image.fromarray(np.ascontiguousarray(picture[top : top + side, left : left + side]))
            tile.save(folder / f"{left // side}_{top // side}.jpg", "JPEG", quality=params.quality, optimize=False)
