"""What there is in a simulated picture of a grid."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HOLE_KINDS = ("good", "empty", "thick", "contaminated")
SQUARE_KINDS = ("good", "empty", "broken", "cracked", "thick", "contaminated")

Floats = NDArray[Any]
"""float32."""


@dataclass(frozen=True)
class HoleTruth:
    """The holes whose centres lie in the picture, as arrays of equal length."""

    centres: Floats
    """(n, 2): x, y in pixels."""
    radius: Floats
    kind: NDArray[np.int64]
    """Index in `HOLE_KINDS`."""
    ice: Floats
    """Optical depth of the ice in the middle of the hole, 0: none."""
    index: NDArray[np.int64]
    """(n, 2): place in the lattice."""
    visible: NDArray[np.bool_]
    """False where noise, a bar or a crystal hides the hole: to find it is neither right nor wrong."""
    pitch: float
    angle: float
    """Degrees from +x toward +y of the lattice vector nearest to +x."""


@dataclass(frozen=True)
class SquareTruth:
    """The squares whose centres lie in the picture, as arrays of equal length."""

    centres: Floats
    """(n, 2): x, y in pixels."""
    corners: Floats
    """(n, 4, 2), going round; partly outside of the picture for a square that is cut."""
    side: Floats
    kind: NDArray[np.int64]
    """Index in `SQUARE_KINDS`."""
    visible: NDArray[np.bool_]
    """False where a square is as dark as the bars or cut by the rim: to find it is neither right nor wrong."""
    pitch: float
    angle: float
    """Degrees from +x toward +y, in [-45, 45)."""
