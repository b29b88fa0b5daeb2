"""The picture with what was found drawn over it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from magellon.algorithms.targets.lattice import FoundLattice
from magellon.io.files import replacing
from magellon.io.picture import contrast, load_font, shrink

LONGEST = 1280
"""Side of the picture, px; smaller images are enlarged to about half of it."""
COLOURS = {
    "good": (60, 220, 90),
    "empty": (80, 190, 255),
    "thick": (255, 80, 60),
    "broken": (255, 160, 30),
    "cracked": (255, 235, 60),
    "contaminated": (240, 90, 240),
}
_OTHER = (255, 255, 255)
_NUMBERED = 150
"""So many targets at most have their rank written on them."""


class Overlay:
    """A picture to draw targets on, in the pixels of the image."""

    def __init__(self, image: NDArray[np.float32]) -> None:
        small = shrink(image, LONGEST)
        factor = -(-max(image.shape) // LONGEST)
        times = max(LONGEST // 2 // max(small.shape), 1)
        self._scale = times / factor
        picture = Image.fromarray(contrast(small)).resize(
            (small.shape[1] * times, small.shape[0] * times), Image.Resampling.NEAREST
        )
        self.picture = picture.convert("RGB")
        self._draw = ImageDraw.Draw(self.picture)
        self._line = 2 if max(self.picture.size) > 900 else 1

    def _place(self, x: float, y: float) -> tuple[float, float]:
        return (x + 0.5) * self._scale - 0.5, (y + 0.5) * self._scale - 0.5

    def add_lattice(self, lattice: FoundLattice | None, index: NDArray[np.int64]) -> None:
        """Lines between neighbouring nodes of those that hold a target."""
        if lattice is None:
            return
        held = {(int(i), int(j)) for i, j in index}
        for i, j in sorted(held):
            for step in ((1, 0), (0, 1)):
                if (i + step[0], j + step[1]) in held:
                    start, end = lattice.place(np.array([[i, j], [i + step[0], j + step[1]]]))
                    self._draw.line([self._place(*start), self._place(*end)], fill=(90, 110, 160), width=1)

    def add_circle(self, x: float, y: float, radius: float, kind: str, weak: bool) -> None:
        cx, cy = self._place(x, y)
        reach = max(radius * self._scale, 1.5)
        box = (cx - reach, cy - reach, cx + reach, cy + reach)
        colour = COLOURS.get(kind, _OTHER)
        if not weak:
            self._draw.ellipse(box, outline=colour, width=self._line)
            return
        for start in range(0, 360, 40):
            self._draw.arc(box, start, start + 22, fill=colour, width=self._line)

    def add_outline(self, corners: NDArray[np.float32], kind: str) -> None:
        points = [self._place(float(x), float(y)) for x, y in corners]
        self._draw.line([*points, points[0]], fill=COLOURS.get(kind, _OTHER), width=self._line)

    def add_ranks(self, places: Sequence[tuple[float, float]], size: float) -> None:
        """Number the first targets, where there is room for numbers."""
        if size * self._scale < 14:
            return
        font = load_font(int(min(max(size * self._scale / 3.5, 9), 22)))
        for rank, (x, y) in enumerate(places[:_NUMBERED], 1):
            self._draw.text(
                self._place(x, y),
                str(rank),
                fill=(255, 240, 120),
                font=font,
                anchor="mm",
                stroke_width=1,
                stroke_fill=(0, 0, 0),
            )

    def add_legend(self, kinds: Sequence[str], doubt: str | None = None) -> None:
        """How many of each kind there are, in their colours, and why they may be none."""
        font = load_font(15)
        y = 6.0
        for kind, colour in COLOURS.items():
            count = list(kinds).count(kind)
            if count:
                self._draw.text((8, y), f"{count} {kind}", fill=colour, font=font, stroke_width=2, stroke_fill="black")
                y += 20
        for line in doubt.split(", ") if doubt is not None else ():  # small pictures have no room for it in one
            self._draw.text((8, y), line, fill=(255, 60, 60), font=font, stroke_width=2, stroke_fill="black")
            y += 20

    def write(self, path: Path) -> None:
        with replacing(path) as temporary:
            self.picture.save(temporary, format="PNG")
