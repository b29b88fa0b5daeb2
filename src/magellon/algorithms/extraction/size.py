"""Sizes whose Fourier transforms are fast."""

from magellon.units import Pixel


def friendly_size(minimum: float) -> Pixel:
    """The smallest size of 4, 5 or 6 times a power of two that is at least `minimum`: 16, 20, 24, 32, 40 ...

    Even, fast to transform, and so far apart that slightly different diameters lead to one box.

    Raises:
        ValueError: above 2^20: no image is that large.
    """
    for power in range(2, 19):
        for factor in (4, 5, 6):
            size = factor << power
            if size >= minimum:
                return size
    raise ValueError(f"no box of {minimum} px")
