"""Microscope settings in the FEI1 and FEI2 extended headers of MRC files, read without numpy.

Source: Thermo Fisher Scientific, "MRC2014 file image format specification, FEI extended header" (versions 1 and 2).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class FeiMetadata:
    """Settings of the first image; None where the header does not vouch for a value."""

    pixel_size: float | None = None
    """Å/px."""
    voltage: float | None = None
    """kV."""
    exposure: float | None = None
    """e/Å²."""


def parse_fei_metadata(extended: bytes, little_endian: bool) -> FeiMetadata | None:
    return None
