"""Optics groups of particles, from the optics table of RELION 3.1 and later or from the rows of earlier versions."""

import math
from dataclasses import dataclass
from pathlib import Path

from magellon.contracts import BadInput
from magellon.io.star import StarTable, Value


@dataclass(frozen=True)
class Group:
    """The optics of particles."""

    name: str
    pixel_size: float
    """Å per pixel of the box."""
    micrograph_pixel_size: float
    """Å per pixel of the micrograph, in which coordinates are counted."""
    box: int | None
    """As the table says; older files do not."""
    voltage: float
    spherical_aberration: float
    amplitude_contrast: float
    original_pixel_size: float
    flipped: bool
    """Whether the phases of the images are flipped already."""


_LIMITS = (
    ("pixel_size", "a pixel size", 0.01, 1000.0, "Å"),
    ("voltage", "rlnVoltage", 10.0, 1500.0, "kV"),
    ("spherical_aberration", "rlnSphericalAberration", 0.0, 20.0, "mm"),
    ("amplitude_contrast", "rlnAmplitudeContrast", 0.0, 0.999, ""),
)
"""What a microscope may have: field, what it is called, least, most, unit."""


def read_groups(piece: StarTable, optics: StarTable | None, source: Path) -> list[Group]:
    """The group of each row.

    Raises:
        BadInput: a group that is not in the table, no pixel size, one that no image has, constants that no microscope has where
            there is a CTF to be computed with them, or images multiplied by their CTF.
    """
    groups = _find_groups(piece, optics, source)
    for group in dict.fromkeys(groups):
        _check_limits(group, "rlnDefocusU" in piece, source)
    return groups


def _check_limits(group: Group, with_ctf: bool, source: Path) -> None:
    for field, name, least, most, unit in _LIMITS:
        value = getattr(group, field)
        used = with_ctf or field == "pixel_size"
        if not math.isfinite(value) or (used and not least <= value <= most):
            said = f"{value:g} {unit}".strip()
            raise BadInput(f"{source}: {group.name}: {name} of {said}: it must lie between {least:g} and {most:g}")


def _find_groups(piece: StarTable, optics: StarTable | None, source: Path) -> list[Group]:
    if optics is None or "rlnOpticsGroup" not in piece:
        return _read_rows(piece, source)
    numbers = optics.ints("rlnOpticsGroup")
    groups = dict(zip(numbers, _read_table(optics, source), strict=True))
    try:
        return [groups[number] for number in piece.ints("rlnOpticsGroup")]
    except KeyError as missing:
        raise BadInput(f"{source}: optics group {missing} is not in the optics table, which has {numbers}") from None


def _read_table(table: StarTable, source: Path) -> list[Group]:
    if any(table.ints("rlnCtfDataAreCtfPremultiplied", 0)):
        raise BadInput(
            f"{source}: the images are multiplied by their CTF (rlnCtfDataAreCtfPremultiplied), which is not supported: "
            "extract them without"
        )
    pixels = table.floats("rlnImagePixelSize")
    original = table.floats("rlnMicrographOriginalPixelSize") if "rlnMicrographOriginalPixelSize" in table else pixels
    micrograph = table.floats("rlnMicrographPixelSize") if "rlnMicrographPixelSize" in table else original
    numbers = table.ints("rlnOpticsGroup")
    names = table.texts("rlnOpticsGroupName") if "rlnOpticsGroupName" in table else [f"opticsGroup{n}" for n in numbers]
    boxes = table.ints("rlnImageSize") if "rlnImageSize" in table else [None] * table.rows
    flipped = table.ints("rlnCtfDataArePhaseFlipped", 0)
    columns = (
        names, pixels, micrograph, boxes, table.floats("rlnVoltage", 300.0), table.floats("rlnSphericalAberration", 2.7),
        table.floats("rlnAmplitudeContrast", 0.1), original, [bool(value) for value in flipped],
    )  # fmt: skip
    return [Group(*values) for values in zip(*columns, strict=True)]


def _read_rows(piece: StarTable, source: Path) -> list[Group]:
    """RELION before 3.1: the optics stand in every row."""
    if "rlnDetectorPixelSize" in piece and "rlnMagnification" in piece:
        detector, magnification = piece.floats("rlnDetectorPixelSize"), piece.floats("rlnMagnification")
        pixels = [round(size * 1e4 / times, 6) for size, times in zip(detector, magnification, strict=True)]
    elif "rlnPixelSize" in piece or "rlnImagePixelSize" in piece:
        pixels = piece.floats("rlnImagePixelSize" if "rlnImagePixelSize" in piece else "rlnPixelSize")
    else:
        raise BadInput(
            f"{source}: no pixel size: neither an optics table and rlnOpticsGroup nor rlnDetectorPixelSize and rlnMagnification"
        )
    flipped = [bool(value) for value in piece.ints("rlnCtfDataArePhaseFlipped", 0)]
    rows = zip(
        pixels, piece.floats("rlnVoltage", 300.0), piece.floats("rlnSphericalAberration", 2.7),
        piece.floats("rlnAmplitudeContrast", 0.1), flipped, strict=True,
    )  # fmt: skip
    return [Group("opticsGroup1", px, px, None, kv, cs, q0, px, done) for px, kv, cs, q0, done in rows]


def make_optics_table(groups: tuple[Group, ...], box: int) -> StarTable:
    """The groups, numbered from 1 in their order, with names that are unique."""
    names: list[str] = []
    for number, group in enumerate(groups, 1):
        names.append(group.name if group.name not in names else f"{group.name}_{number}")
    columns: dict[str, list[Value]] = {
        "rlnOpticsGroupName": list(names),
        "rlnOpticsGroup": list(range(1, len(groups) + 1)),
        "rlnMicrographOriginalPixelSize": [group.original_pixel_size for group in groups],
        "rlnMicrographPixelSize": [group.micrograph_pixel_size for group in groups],
        "rlnVoltage": [group.voltage for group in groups],
        "rlnSphericalAberration": [group.spherical_aberration for group in groups],
        "rlnAmplitudeContrast": [group.amplitude_contrast for group in groups],
        "rlnImagePixelSize": [group.pixel_size for group in groups],
        "rlnImageSize": [box] * len(groups),
        "rlnImageDimensionality": [2] * len(groups),
        "rlnCtfDataAreCtfPremultiplied": [0] * len(groups),
    }
    return StarTable(columns)
