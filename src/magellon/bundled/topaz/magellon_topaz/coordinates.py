"""The table that `topaz extract` writes: image name, x, y and score, separated by tabs."""

import math
from dataclasses import dataclass
from pathlib import Path

from magellon.errors import Transient

HEADER = ["image_name", "x_coord", "y_coord", "score"]


@dataclass(frozen=True)
class Pick:
    """In pixels of the image that was scored, 0-based."""

    x: float
    y: float
    score: float
    """Log-likelihood ratio: 0 is as likely a particle as not."""


def read_coordinates(path: Path) -> list[Pick]:
    """The picks of one image, best first.

    Raises:
        Transient: the file is missing, or no such table: Topaz did not do its work.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise Transient(f"topaz left no coordinates: {error}") from error
    if not lines or lines[0].split("\t") != HEADER:
        raise Transient(f"{path.name}: starts with {lines[:1]}, not with the columns {HEADER}")
    picks = [_read_line(line, number, path) for number, line in enumerate(lines[1:], start=2) if line]
    return sorted(picks, key=lambda pick: (-pick.score, pick.y, pick.x))


def _read_line(line: str, number: int, path: Path) -> Pick:
    try:
        x, y, score = (float(value) for value in line.split("\t")[1:])
    except ValueError as error:
        raise Transient(f"{path.name}, line {number}: {line!r} is no name, x, y and score") from error
    if not all(map(math.isfinite, (x, y, score))):
        raise Transient(f"{path.name}, line {number}: {line!r} holds numbers that are not finite")
    return Pick(x, y, score)
