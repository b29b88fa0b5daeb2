"""Writing targets as SerialEM navigator items, in the text format of version 2.00.

Where the stage position of a target is known the item carries it; otherwise the item carries its place in the picture, which
SerialEM turns into a stage position when the picture is one of its maps: x and y in pixels from the lower left corner
(`CoordsInMap`). Source: "File Formats" of the SerialEM manual.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from magellon.io.files import replacing

POINT = 0
COLOURS = {"red": 0, "green": 1, "blue": 2, "yellow": 3, "magenta": 4}


@dataclass(frozen=True)
class NavigatorPoint:
    """One target."""

    label: str
    note: str
    x: float
    y: float
    """Pixels from the lower left corner of the picture."""
    stage: tuple[float, float, float] | None = None
    """µm."""
    acquire: bool = True
    colour: str = "red"


def write_navigator(path: Path, points: Sequence[NavigatorPoint], map_id: int | None) -> None:
    """Write the points in order.

    Args:
        map_id: `MapID` of the picture in the navigator that these items are to be merged into; needed by points without a stage
            position. The items' own are counted from the one after it, so that none is its.

    Raises:
        Transient: the disk is full.
    """
    first_id = (map_id or 0) + 1
    text = "AdocVersion = 2.00\n\n" + "".join(_format(point, map_id, first_id + number) for number, point in enumerate(points))
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\r\n")


def _format(point: NavigatorPoint, map_id: int | None, own_id: int) -> str:
    height = point.stage[2] if point.stage is not None else 0.0
    x, y = point.stage[:2] if point.stage is not None else (point.x, point.y)
    where = "StageXYZ" if point.stage is not None else "CoordsInMap"
    entries = {
        "Color": str(COLOURS[point.colour]),
        where: f"{x:.3f} {y:.3f} {height:.3f}",
        "NumPts": "1",
        "Regis": "1",
        "Type": str(POINT),
        "Note": point.note,
        "MapID": str(own_id),
        **({"DrawnID": str(map_id)} if map_id is not None else {}),
        "Acquire": str(int(point.acquire)),
        "Draw": "1",
        "PtsX": f"{x:.3f}",
        "PtsY": f"{y:.3f}",
    }
    return f"[Item = {point.label}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items()) + "\n"
