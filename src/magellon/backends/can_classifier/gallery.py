"""Class averages side by side, the largest class first, with what is thought of each."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from magellon.backends.can_classifier.verdict import Verdict
from magellon.io.picture import load_font, write_png

COLUMNS = 10
_TILE = 120
_TEXT = 30
_KEPT, _ASIDE = (60, 170, 90), (190, 60, 60)


def write_gallery(path: Path, verdict: Verdict) -> None:
    """Each average with its own contrast, its number, particles, resolution and quality; a green frame: selected, red: not."""
    averages = verdict.averages
    count = len(averages)
    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    sheet = Image.new("RGB", (columns * _TILE, rows * (_TILE + _TEXT)), (20, 20, 20))
    draw = ImageDraw.Draw(sheet)
    font = load_font(10)
    for index, average in enumerate(averages):
        x, y = index % columns * _TILE, index // columns * (_TILE + _TEXT)
        tile = Image.fromarray(_show(average)).resize((_TILE - 4, _TILE - 4), Image.Resampling.BICUBIC)
        sheet.paste(tile, (x + 2, y + 2))
        colour = _KEPT if verdict.selected[index] else _ASIDE
        draw.rectangle((x, y, x + _TILE - 1, y + _TILE - 1), outline=colour, width=2)
        draw.text((x + 3, y + _TILE), f"{index + 1}: {verdict.occupancy[index]} particles", fill=(230, 230, 230), font=font)
        words = f"{verdict.resolution[index]:.1f} Å  quality {verdict.quality[index]:.2f}"
        draw.text((x + 3, y + _TILE + 13), words, fill=colour, font=font)
    write_png(path, np.asarray(sheet))


def _show(average: NDArray[np.float32]) -> NDArray[np.uint8]:
    low, high = float(average.min()), float(average.max())
    if high <= low:
        return np.full(average.shape, 128, dtype=np.uint8)
    shown: NDArray[np.uint8] = np.rint((average - low) * (255 / (high - low))).astype(np.uint8)
    return shown
