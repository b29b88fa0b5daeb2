"""SerialEM's lists of camera defects (`defects_*.txt`).

Source: the SerialEM and IMOD manuals. Coordinates count pixels from 0, the first row on top, of the camera's image as
SerialEM showed it: turned by `RotationAndFlip` from how the detector is read out. Gain references lie as it is read out, and
so does what is returned here.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput

_MAX_SIZE = 1 << 16
_LARGEST_OPERATION = 15


def parse_serialem_defects(text: str, path: Path | str) -> NDArray[np.bool_]:
    """Read the keywords BadPixels, BadColumns, BadRows, PartialBadColumn, PartialBadRow and UsableArea.

    Returns:
        True where the detector is bad, as it is read out; the first row is the top one. (CameraSizeY, CameraSizeX), or the
        reverse where `RotationAndFlip` is odd.

    Raises:
        BadInput: a value that is no whole number or lies outside the camera.
    """
    entries = [_split(line, number, path) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    sizes = {key: values[0] for key, values, _ in entries if key in {"CameraSizeX", "CameraSizeY"} and len(values) == 1}
    width, height = sizes.get("CameraSizeX", 0), sizes.get("CameraSizeY", 0)
    if not (0 < width <= _MAX_SIZE and 0 < height <= _MAX_SIZE):
        raise BadInput(f"{path}: CameraSizeX {width} and CameraSizeY {height} make no sense")
    bad = np.zeros((height, width), dtype=np.bool_)
    for key, values, number in entries:
        try:
            _mark(bad, key, values)
        except (IndexError, ValueError) as error:
            raise BadInput(f"{path}: line {number}: {key} {' '.join(map(str, values[:8]))}: {error}") from None
    turns = [values[0] for key, values, _ in entries if key == "RotationAndFlip" and values]
    return _turn_back(bad, turns[-1] if turns else 0, path)


def _turn_back(shown: NDArray[np.bool_], operation: int, path: Path | str) -> NDArray[np.bool_]:
    """Undo SerialEM's operation: + 4 mirrors left-right, then quarter turns counter-clockwise, then + 8 mirrors left-right."""
    if not 0 <= operation <= _LARGEST_OPERATION:
        raise BadInput(f"{path}: RotationAndFlip {operation} is outside 0..{_LARGEST_OPERATION}")
    turned = np.rot90(shown[:, ::-1] if operation & 8 else shown, -(operation % 4))
    return turned[:, ::-1] if operation & 4 else turned


def _split(line: str, number: int, path: Path | str) -> tuple[str, list[int], int]:
    key, *words = line.split()
    if key.startswith("#"):
        return "#", [], number
    try:
        return key, [int(word) for word in words], number
    except ValueError:
        if key.startswith(("Bad", "Partial", "Usable", "CameraSize", "Rotation")):
            raise BadInput(f"{path}: line {number} holds something else than whole numbers: {line[:60]!r}") from None
        return key, [], number


def _mark(bad: NDArray[np.bool_], key: str, values: list[int]) -> None:
    height, width = bad.shape
    if key == "BadPixels":
        if len(values) % 2:
            raise ValueError("an odd number of coordinates")
        for x, y in zip(values[0::2], values[1::2], strict=True):
            bad[_inside(y, height), _inside(x, width)] = True
    elif key == "BadColumns":
        for x in values:
            bad[:, _inside(x, width)] = True
    elif key == "BadRows":
        for y in values:
            bad[_inside(y, height)] = True
    elif key == "PartialBadColumn":
        x, count, start, end = _four(values)
        bad[_inside(start, height) : _inside(end, height) + 1, _inside(x, width) : _inside(x + count - 1, width) + 1] = True
    elif key == "PartialBadRow":
        y, count, start, end = _four(values)
        bad[_inside(y, height) : _inside(y + count - 1, height) + 1, _inside(start, width) : _inside(end, width) + 1] = True
    elif key == "UsableArea":
        top, left, bottom, right = _four(values)
        bad[: max(top, 0)] = True
        bad[:, : max(left, 0)] = True
        if bottom > 0:
            bad[bottom + 1 :] = True
        if right > 0:
            bad[:, right + 1 :] = True


def _four(values: list[int]) -> list[int]:
    if len(values) != 4:
        raise ValueError(f"{len(values)} numbers instead of 4")
    return values


def _inside(value: int, size: int) -> int:
    if not 0 <= value < size:
        raise ValueError(f"{value} is outside 0..{size - 1}")
    return value
