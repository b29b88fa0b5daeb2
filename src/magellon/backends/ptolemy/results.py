"""What both backends write: JSON for programs, STAR for RELION, navigator items for SerialEM."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magellon.algorithms.targets.found import Found
from magellon.algorithms.targets.lattice import FoundLattice
from magellon.backends.ptolemy.stage import Placement
from magellon.io.files import replacing
from magellon.io.serialem_navigator import write_navigator
from magellon.io.star import StarTable, write_star

KEPT_CLASS = "rlnClassNumber"


@dataclass(frozen=True)
class TargetFiles:
    """Of one picture."""

    record: Path
    star: Path
    targets: Path
    picture: Path

    @classmethod
    def name(cls, folder: Path, image: str, what: str) -> "TargetFiles":
        """Where they lie; `what` is `squares` or `holes`."""
        return cls(*(folder / f"{image}_{what}.{end}" for end in ("json", "star", "nav", "png")))


def write_targets(
    files: TargetFiles,
    what: str,
    found: Found,
    kinds: tuple[str, ...],
    place: Placement,
    describe: Callable[[int], dict[str, Any]],
) -> None:
    """Everything but the picture.

    Args:
        what: `squares` or `holes`.
        kinds: all there are, in the network's order.
        describe: what is said of the target in a row besides what is said of all.
    """
    record = {
        **describe_picture(place),
        "lattice": describe_lattice(found.lattice, place.image.pixel_size),
        what: [_describe_target(found, row, place, kinds, describe(row)) for row in range(len(found))],
    }
    write_json(files.record, record)
    write_target_star(files.star, found.x, found.y, found.score, [kinds.index(kind) + 1 for kind in found.kind])
    good = [row for row in range(len(found)) if found.good[row]][: place.params.most]
    points = [
        place.make_point(rank, float(found.x[row]), float(found.y[row]), f"score {found.score[row]:.2f}")
        for rank, row in enumerate(good, 1)
    ]
    write_navigator(files.targets, points, place.params.map_id)


def _describe_target(found: Found, row: int, place: Placement, kinds: tuple[str, ...], more: dict[str, Any]) -> dict[str, Any]:
    x, y = float(found.x[row]), float(found.y[row])
    stage = place.locate(x, y)
    return {
        "rank": row + 1,
        "x": round(x, 2),
        "y": round(y, 2),
        **more,
        "score": round(float(found.score[row]), 4),
        "kind": found.kind[row],
        "kinds": {kind: round(float(share), 3) for kind, share in zip(kinds, found.kinds[row], strict=True)},
        "brightness": round(float(found.brightness[row]), 3),
        "good": bool(found.good[row]),
        **({"stage": [round(value, 4) for value in stage]} if stage else {}),
    }


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
