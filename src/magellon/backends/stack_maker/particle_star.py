"""The STAR file of one micrograph's particles (RELION 3.1 and later)."""

import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.backends.stack_maker.picks import PickTable
from magellon.contracts import Ctf, Micrograph
from magellon.io.star import StarTable, write_star
from magellon.units import AngstromPerPixel, Pixel


def write_particle_star(
    path: Path, micrograph: Micrograph, ctf: Ctf | None, picks: PickTable, stack: str, box: Pixel, pixel_size: AngstromPerPixel
) -> None:
    """Describe the boxes of a stack, in its order.

    The coordinate written is the pixel around which the box was cut, and the origin is what is left to the true centre.

    Args:
        stack: file name of the stack.
        box: side of its boxes, of `pixel_size`.
    """
    optics = micrograph.optics
    tables = {
        "optics": StarTable(
            {
                "rlnOpticsGroupName": [optics.group],
                "rlnOpticsGroup": [1],
                "rlnMicrographOriginalPixelSize": [micrograph.pixel_size],
                "rlnMicrographPixelSize": [micrograph.pixel_size],
                "rlnVoltage": [optics.voltage],
                "rlnSphericalAberration": [optics.spherical_aberration],
                "rlnAmplitudeContrast": [optics.amplitude_contrast],
                "rlnImagePixelSize": [pixel_size],
                "rlnImageSize": [box],
                "rlnImageDimensionality": [2],
            }
        ),
        "particles": StarTable(_particle_columns(micrograph, ctf, picks, stack)),
    }
    write_star(path, tables)


def _particle_columns(micrograph: Micrograph, ctf: Ctf | None, picks: PickTable, stack: str) -> dict[str, list[object]]:
    count = len(picks.centres)
    nearest = np.floor(picks.centres + 0.5)
    rest = (nearest - picks.centres) * micrograph.pixel_size
    columns: dict[str, list[object]] = {
        "rlnCoordinateX": nearest[:, 1].tolist(),
        "rlnCoordinateY": nearest[:, 0].tolist(),
        "rlnOriginXAngst": rest[:, 1].tolist(),
        "rlnOriginYAngst": rest[:, 0].tolist(),
        "rlnAutopickFigureOfMerit": picks.scores.tolist(),
        "rlnImageName": [f"{number:06d}@{stack}" for number in range(1, count + 1)],
        "rlnMicrographName": [micrograph.path.name] * count,
        "rlnOpticsGroup": [1] * count,
    }
    columns.update({label: [value] * count for label, value in _ctf_values(ctf).items()})
    columns["rlnRandomSubset"] = assign_halves(micrograph.name, count).tolist()
    columns.update({label: list(values) for label, values in picks.others.items()})
    return columns


def _ctf_values(ctf: Ctf | None) -> dict[str, float]:
    if ctf is None:
        return {}
    return {
        "rlnDefocusU": ctf.defocus_u,
        "rlnDefocusV": ctf.defocus_v,
        "rlnDefocusAngle": ctf.defocus_angle,
        "rlnPhaseShift": ctf.phase_shift,
        "rlnCtfBfactor": 0.0,
        "rlnCtfScalefactor": 1.0,
        "rlnCtfMaxResolution": ctf.resolution,
        "rlnCtfFigureOfMerit": ctf.score,
    }


def assign_halves(name: str, count: int) -> NDArray[np.int64]:
    """The half set, 1 or 2, of each particle of a micrograph: alternating, and the same however the session grows.

    Which half comes first depends on the name, so that micrographs with an odd number of particles balance out.
    """
    return (np.arange(count) + zlib.crc32(name.encode())) % 2 + 1
