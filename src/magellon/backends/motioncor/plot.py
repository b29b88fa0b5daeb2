"""Picture of the motion: the global track to scale, and the local tracks over the field, enlarged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from magellon.algorithms.motion import MotionField, MotionSummary
from magellon.algorithms.motion.field import grid_centres
from magellon.io.picture import load_font

_SCALE = 3  # drawn larger and shrunk, for smooth lines
_PANEL = 480
_MARGIN = 46
_GREY, _LIGHT, _INK = (110, 110, 110), (225, 225, 225), (30, 30, 30)


@dataclass
class _Canvas:
    image: Image.Image
    draw: ImageDraw.ImageDraw

    def text(
        self, x: float, y: float, words: str, size: int = 14, colour: tuple[int, int, int] = _INK, anchor: str = "la"
    ) -> None:
        self.draw.text((x * _SCALE, y * _SCALE), words, fill=colour, font=load_font(size * _SCALE), anchor=anchor)

    def line(self, points: list[tuple[float, float]], colour: tuple[int, int, int], width: float = 1) -> None:
        scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
        self.draw.line(scaled, fill=colour, width=round(width * _SCALE), joint="curve")

    def dot(self, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
        box = [(x - radius) * _SCALE, (y - radius) * _SCALE, (x + radius) * _SCALE, (y + radius) * _SCALE]
        self.draw.ellipse(box, fill=colour)


def draw_motion(field: MotionField, pixel_size: float, name: str, summary: MotionSummary) -> NDArray[np.uint8]:
    """Draw the motion of one movie.

    Returns:
        (height, width, 3) uint8. Left: global track in Å. Right: local motion beside it, over the field, enlarged. The first
        frame is blue, the last red; y grows downwards as in the micrograph.
    """
    width, height = 2 * _PANEL + 3 * _MARGIN, _PANEL + 2 * _MARGIN + 20
    image = Image.new("RGB", (width * _SCALE, height * _SCALE), (255, 255, 255))
    canvas = _Canvas(image, ImageDraw.Draw(image))
    canvas.text(_MARGIN, 12, name, 16)
    words = f"total {summary.total:.1f} Å    early {summary.early:.1f} Å    late {summary.late:.1f} Å    {field.frames} frames"
    canvas.text(width - _MARGIN, 14, words, 14, _GREY, "ra")
    _draw_global(canvas, field.global_track() * pixel_size, _MARGIN, _MARGIN)
    _draw_local(canvas, field, pixel_size, 2 * _MARGIN + _PANEL, _MARGIN)
    return np.asarray(image.reduce(_SCALE))


def _draw_global(canvas: _Canvas, track: Tensor, left: float, top: float) -> None:
    low, high = track.amin(0), track.amax(0)
    span = max(float((high - low).max()), 1.0) * 1.15
    middle = ((low + high) / 2).tolist()
    step = _round_step(span / 5)

    def place(y: float, x: float) -> tuple[float, float]:
        return left + _PANEL * (0.5 + (x - middle[1]) / span), top + _PANEL * (0.5 + (y - middle[0]) / span)

    for axis in (0, 1):
        for tick in range(int((middle[axis] - span / 2) // step) + 1, int((middle[axis] + span / 2) // step) + 1):
            value = tick * step
            x, y = place(value, value)
            if axis == 1:
                canvas.line([(x, top), (x, top + _PANEL)], _LIGHT)
                canvas.text(x, top + _PANEL + 5, f"{value:g}", 12, _GREY, "ma")
            else:
                canvas.line([(left, y), (left + _PANEL, y)], _LIGHT)
                canvas.text(left - 6, y, f"{value:g}", 12, _GREY, "rm")
    _frame(canvas, left, top)
    canvas.text(left + _PANEL / 2, top + _PANEL + 22, "global displacement, Å", 13, _GREY, "ma")
    _track(canvas, [place(y, x) for y, x in track.tolist()], 2.0, 2.6)


def _draw_local(canvas: _Canvas, field: MotionField, pixel_size: float, left: float, top: float) -> None:
    height, width = field.shape
    rows, columns = max(3, round(7 * height / max(height, width))), max(3, round(7 * width / max(height, width)))
    centres = grid_centres(field.shape, (rows, columns))
    local = (field.displacement(centres) - field.global_track()[:, None, None]) * pixel_size
    largest = max(float((local - local[:1]).norm(dim=-1).max()), 1e-6)
    scale = _PANEL / max(height, width)
    cell = _PANEL / max(rows, columns)
    enlarge = min(0.45 * cell / largest, 200.0)
    _frame(canvas, left, top, width * scale, height * scale)
    for row in range(rows):
        for column in range(columns):
            y, x = (centres[row, column] * scale).tolist()
            track = local[:, row, column] - local[:1, row, column]
            points = [(left + x + dx * enlarge, top + y + dy * enlarge) for dy, dx in track.tolist()]
            _track(canvas, points, 1.4, 1.5)
    bar = _round_step(0.5 * cell / enlarge)
    bottom = top + _PANEL + 24
    if field.local is None:
        canvas.text(left + _PANEL / 2, bottom - 2, "no local motion corrected", 13, _GREY, "ma")
        return
    canvas.line([(left, bottom + 6), (left + bar * enlarge, bottom + 6)], _INK, 2)
    canvas.text(left + bar * enlarge + 8, bottom - 2, f"{bar:g} Å of local motion over the field", 13, _GREY)


def _track(canvas: _Canvas, points: list[tuple[float, float]], width: float, radius: float) -> None:
    last = max(len(points) - 1, 1)
    for index in range(len(points) - 1):
        canvas.line(points[index : index + 2], _colour(index / last), width)
    for index, (x, y) in enumerate(points):
        canvas.dot(x, y, radius * (1.6 if index in (0, len(points) - 1) else 0.8), _colour(index / last))


def _colour(fraction: float) -> tuple[int, int, int]:
    """Blue through violet to red."""
    return round(40 + 185 * fraction), round(90 - 50 * fraction), round(210 - 170 * fraction)


def _frame(canvas: _Canvas, left: float, top: float, width: float = _PANEL, height: float = _PANEL) -> None:
    corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height), (left, top)]
    canvas.line(corners, _GREY)


def _round_step(value: float) -> float:
    """The largest of 1, 2, 5 x 10^n that is not above `value`."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(power * factor for factor in (1, 2, 5) if power * factor <= value * 1.0001))
