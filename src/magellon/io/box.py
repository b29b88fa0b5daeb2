"""EMAN's `.box` coordinates: the lower-left corner of each box, as whole pixels."""

from collections.abc import Iterable
from pathlib import Path

from magellon.errors import BadInput
from magellon.io.files import reading, replacing


def write_box(path: Path | str, centres: Iterable[tuple[float, float]], box: int) -> None:
    """Write particle centres.

    Args:
        centres: (x, y) in pixels, y counted from row 0 of the array. EMAN shows row 0 at the bottom, so the corner with the
            smallest row is the lower-left one.
        box: side in pixels; the centre is pixel `box // 2`.
    """
    lines = [f"{round(x) - box // 2}\t{round(y) - box // 2}\t{box}\t{box}\n" for x, y in centres]
    with replacing(path) as temporary:
        temporary.write_text("".join(lines), encoding="ascii")


def read_box(path: Path | str) -> list[tuple[float, float]]:
    """Read particle centres (x, y) in pixels.

    Raises:
        BadInput: a line that is not `x y width height`.
    """
    with reading(path):
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    centres = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        try:
            x, y, width, height = (float(word) for word in words[:4])
        except ValueError:
            raise BadInput(f"{path}: line {number} is not 'x y width height': {line[:60]!r}") from None
        centres.append((x + width // 2, y + height // 2))
    return centres
