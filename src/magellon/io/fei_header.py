"""Microscope settings in the FEI1 and FEI2 extended headers of MRC files, read without numpy.

Source: Thermo Fisher Scientific, "MRC2014 file image format, FEI extended header". A section's block starts with its size and
version; each field has a bit that says whether its value means anything. Blocks keep the byte order of the file, the bit masks
are always little-endian.
"""

import math
import struct
from dataclasses import dataclass

_BLOCK_BYTES = 768
_MASK_1, _MASK_2 = 8, 297
_VOLTAGE, _DOSE, _PIXEL_SIZE = (84, _MASK_1, 5), (92, _MASK_1, 6), (156, _MASK_1, 14)
_DEFOCUS, _APPLIED_DEFOCUS, _MAGNIFICATION = (220, _MASK_1, 22), (236, _MASK_1, 24), (289, _MASK_1, 31)
_INTEGRATION_TIME = (419, _MASK_2, 16)
_MICROSCOPE, _CAMERA = (20, _MASK_1, 1), (435, _MASK_2, 19)
"""(byte offset, offset of the bit mask, bit)"""


@dataclass(frozen=True)
class FeiMetadata:
    """Settings of the first image; None or empty where the header does not vouch for a value."""

    pixel_size: float | None = None
    """Å/px."""
    voltage: float | None = None
    """kV."""
    exposure: float | None = None
    """e/Å²; a zero in the file means unknown."""
    defocus: float | None = None
    """Å, positive = underfocus, as the lens reads; far less reliable than `applied_defocus`."""
    applied_defocus: float | None = None
    """Å, positive = underfocus, as asked for."""
    magnification: float | None = None
    integration_time: float | None = None
    """s."""
    microscope: str = ""
    camera: str = ""


def parse_fei_metadata(extended: bytes, little_endian: bool) -> FeiMetadata | None:
    """Read the first block of an FEI1 or FEI2 extended header; None when it is too short to be one."""
    if len(extended) < _BLOCK_BYTES:
        return None
    order = "<" if little_endian else ">"
    if not _BLOCK_BYTES <= struct.unpack_from(order + "i", extended)[0] <= 1 << 16:
        return None

    def number(field: tuple[int, int, int], factor: float) -> float | None:
        if not _is_valid(extended, field):
            return None
        value: float = struct.unpack_from(order + "d", extended, field[0])[0] * factor
        return value if math.isfinite(value) and value != 0 else None

    def text(field: tuple[int, int, int]) -> str:
        raw = extended[field[0] : field[0] + 16].split(b"\0")[0]
        found = raw.decode("ascii", "replace").strip() if _is_valid(extended, field) else ""
        return found if found.isprintable() else ""

    return FeiMetadata(
        pixel_size=_positive(number(_PIXEL_SIZE, 1e10)),
        voltage=_positive(number(_VOLTAGE, 1e-3)),
        exposure=_positive(number(_DOSE, 1e-20)),
        defocus=number(_DEFOCUS, -1e10),
        applied_defocus=number(_APPLIED_DEFOCUS, -1e10),
        magnification=_positive(number(_MAGNIFICATION, 1.0)),
        integration_time=_positive(number(_INTEGRATION_TIME, 1.0)),
        microscope=text(_MICROSCOPE),
        camera=text(_CAMERA),
    )


def _is_valid(extended: bytes, field: tuple[int, int, int]) -> bool:
    mask: int = struct.unpack_from("<I", extended, field[1])[0]
    return bool(mask >> field[2] & 1)


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None
