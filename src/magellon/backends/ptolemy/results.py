"""What both backends write: JSON for programs, STAR for RELION."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magellon.algorithms.targets.lattice import FoundLattice
from magellon.backends.ptolemy.stage import Placement
from magellon.io.files import replacing
from magellon.io.star import StarTable, write_star

KEPT_CLASS = "rlnClassNumber"


def describe_picture(place: Placement) -> dict[str, Any]:
    """What is known of the image."""
    image = place.image
    return {
        "image": image.name,
        "width": place.width,
        "height": place.height,
        "pixel_size": image.pixel_size,
        "stage": list(image.stage) if image.stage is not None else None,
        "threshold": place.params.threshold,
    }


def describe_lattice(lattice: FoundLattice | None, pixel_size: float | None) -> dict[str, Any] | None:
    """Its vectors, pitch and angle, in pixels; the pitch also in Å where the pixel size is known."""
    if lattice is None:
        return None
    return {
        "origin": [round(float(value), 2) for value in lattice.origin],
        "a": [round(float(value), 3) for value in lattice.a],
        "b": [round(float(value), 3) for value in lattice.b],
        "pitch": round(lattice.pitch, 3),
        "angle": round(lattice.angle, 3),
        **({"pitch_angstrom": round(lattice.pitch * pixel_size, 1)} if pixel_size else {}),
    }


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """One readable file."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_target_star(
    path: Path, x: NDArray[np.float32], y: NDArray[np.float32], score: NDArray[np.float32], kinds: Sequence[int]
) -> None:
    """Centres in pixels, best first; the class is the number of the kind, from 1."""
    table = {
        "rlnCoordinateX": [f"{value:.3f}" for value in x.tolist()],
        "rlnCoordinateY": [f"{value:.3f}" for value in y.tolist()],
        "rlnAutopickFigureOfMerit": [f"{value:.4f}" for value in score.tolist()],
        KEPT_CLASS: [str(value) for value in kinds],
    }
    write_star(path, {"": StarTable(table)})
