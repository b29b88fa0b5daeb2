"""What a person decides about motion correction, and what the machine offers for it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from magellon.units import Angstrom, Exposure, Kilovolt


class FrameSource(Protocol):
    """Anything with a length that gives frame i, an array or tensor (height, width), as `source[i]`: a list, a tensor.

    A source that makes each frame anew may say so with an attribute `fresh = True`, which saves a copy.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


Report: TypeAlias = Callable[[float, str], None]
"""Called with the fraction done (0..1) and what is being done."""


def report_nothing(fraction: float, message: str) -> None:
    """The default `Report`."""


@dataclass(frozen=True)
class MotionSettings:
    """Choices that change the result. Lengths in Å, exposures in e/Å²."""

    local_motion: bool = True
    """Correct motion that differs over the field."""
    patch_size: Angstrom = 500.0
    """Side of the areas on which local motion is measured."""
    binning: float = 1.0
    """Fourier cropping of the sums; 2 halves the size."""
    voltage: Kilovolt = 300.0
    exposure_per_frame: Exposure | None = None
    """None: unknown, so no dose weighting."""
    pre_exposure: Exposure = 0.0
    dose_weighting: bool = True
    hot_pixel_sigma: float = 6.0
    """A pixel whose sum over the movie deviates more than this many standard deviations from its surroundings is replaced."""
    resolution: Angstrom = 5.0
    """Finest detail used for alignment."""
    group_exposure: Exposure = 4.0
    """Exposure of the groups whose power spectra are summed."""


@dataclass(frozen=True)
class Budget:
    """What the computation may use; does not change the result."""

    threads: int = 1
    memory: int = 4 << 30
    """Bytes."""
