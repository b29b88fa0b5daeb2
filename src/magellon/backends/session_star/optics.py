"""Optics groups of a session, numbered from 1."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from magellon.contracts import BadInput, Micrograph, SessionItem
from magellon.io.star import StarTable
from magellon.units import AngstromPerPixel, Pixel

_ORIGINAL_PIXEL_SIZE = re.compile(rb"^\s*_rlnMicrographOriginalPixelSize\s+([0-9.eE+-]+)\s*$", re.MULTILINE)
_GENERAL_BLOCK_BYTES = 4096
"""The general block stands first in a motion STAR file and is shorter than this."""


@dataclass(frozen=True)
class MicrographOptics:
    """All that makes micrographs belong to one group."""

    name: str
    original_pixel_size: AngstromPerPixel
    """Of the movie."""
    pixel_size: AngstromPerPixel
    voltage: float
    spherical_aberration: float
    amplitude_contrast: float

    def columns(self, unique: str, number: int) -> dict[str, str | float | int]:
        return {
            "rlnOpticsGroupName": unique,
            "rlnOpticsGroup": number,
            "rlnMicrographOriginalPixelSize": self.original_pixel_size,
            "rlnVoltage": self.voltage,
            "rlnSphericalAberration": self.spherical_aberration,
            "rlnAmplitudeContrast": self.amplitude_contrast,
            "rlnMicrographPixelSize": self.pixel_size,
        }


@dataclass(frozen=True)
class ParticleOptics:
    """A group of particles: boxes of one size from micrographs of one group."""

    micrograph: MicrographOptics
    box: Pixel
    pixel_size: AngstromPerPixel

    @property
    def name(self) -> str:
        return self.micrograph.name

    def columns(self, unique: str, number: int) -> dict[str, str | float | int]:
        particle: dict[str, str | float | int] = {
            "rlnImagePixelSize": self.pixel_size,
            "rlnImageSize": self.box,
            "rlnImageDimensionality": 2,
        }
        return {**self.micrograph.columns(unique, number), **particle}


@dataclass
class OpticsGroups:
    """Groups in the order in which they first appear, with unique names."""

    numbers: dict[MicrographOptics | ParticleOptics, int] = field(default_factory=dict)

    @classmethod
    def collect(cls, groups: Iterable[MicrographOptics | ParticleOptics]) -> "OpticsGroups":
        """Number groups; micrographs that share a name but not their optics get groups of their own."""
        return cls({group: number for number, group in enumerate(dict.fromkeys(groups), start=1)})

    def table(self) -> StarTable:
        rows = []
        taken: set[str] = set()
        for group, number in self.numbers.items():
            unique, copy = group.name, 1
            while unique in taken:
                copy += 1
                unique = f"{group.name}_{copy}"
            taken.add(unique)
            rows.append(group.columns(unique, number))
        return StarTable({label: [row[label] for row in rows] for label in rows[0]} if rows else {})


def find_micrograph(item: SessionItem) -> Micrograph | None:
    """The micrograph of an item, wherever it was made."""
    return item.motion_correction.micrograph if item.motion_correction else item.micrograph


def find_optics(item: SessionItem) -> MicrographOptics:
    """The optics group to which an item's micrograph belongs.

    Raises:
        BadInput: nothing is known of the item's micrograph.
    """
    micrograph = find_micrograph(item)
    if micrograph is None:
        raise BadInput(f"{item.name}: has results but no micrograph, so that its pixel size and optics are unknown")
    optics = micrograph.optics
    return MicrographOptics(
        name=optics.group,
        original_pixel_size=_original_pixel_size(item, micrograph),
        pixel_size=round(micrograph.pixel_size, 6),
        voltage=optics.voltage,
        spherical_aberration=optics.spherical_aberration,
        amplitude_contrast=optics.amplitude_contrast,
    )


def _original_pixel_size(item: SessionItem, micrograph: Micrograph) -> AngstromPerPixel:
    """Of the movie's frames as they were read: EER rendering makes it differ from the movie's own."""
    if item.motion_correction is not None:
        with open(item.motion_correction.star, "rb") as file:
            match = _ORIGINAL_PIXEL_SIZE.search(file.read(_GENERAL_BLOCK_BYTES))
        if match:
            return round(float(match.group(1)), 6)
    return round(item.movie.pixel_size if item.movie else micrograph.pixel_size, 6)
