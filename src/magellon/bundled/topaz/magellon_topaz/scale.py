"""The scale at which Topaz sees a micrograph: its models know particles of one size, and it reduces by whole numbers only."""

from magellon.errors import BadInput

WIDTH = 20.0
"""Pixels across a particle in the reduced image, about: what the models that Topaz ships were trained at."""
SMALLEST_SIDE = 72
"""Pixels: the models see 71 across."""


def choose_factor(diameter: float, pixel_size: float, shape: tuple[int, int]) -> int:
    """By which whole number a micrograph (height, width) is reduced for particles of `diameter` Å.

    Raises:
        BadInput: what is left would be too small to be scored.
    """
    factor = max(1, round(diameter / pixel_size / WIDTH))
    if min(shape) // factor < SMALLEST_SIDE:
        raise BadInput(
            f"a micrograph of {shape[0]} x {shape[1]} px reduced {factor} times for particles of {diameter:g} Å is below the "
            f"{SMALLEST_SIDE} px that Topaz needs"
        )
    return factor


def scale_back(coordinate: float, side: int, factor: int) -> float:
    """A coordinate of the reduced image in the micrograph, `side` pixels long there.

    Topaz crops the transform, which keeps sample 0 in place, and cuts the reduced side down to whole pixels.
    """
    return coordinate * side / (side // factor)
