"""Leginon sessions as exported for Magellon: `session.json` with a list of images, each with the images taken from it.

Leginon writes lengths in m, angles in radians, underfocus negative, and Cs in m; the records have this package's units and
signs. Loads no numpy. Source: files of such exports.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magellon.errors import BadInput
from magellon.io.metadata_files import name_file, parse_number, read_bytes

_MAX_DEPTH = 32
_TOKEN = re.compile(r"^\d+([a-z]+)\d*$")
_KINDS = {"gr": "atlas", "sq": "square", "hl": "hole", "hln": "hole", "ex": "exposure", "en": "exposure", "enn": "exposure"}
_FOCUS = {"fc", "fa", "fan"}
_LEVELS = {1: "atlas", 2: "square", 3: "hole", 4: "exposure"}
_PER_SQUARE_METRE = 1e10
"""Exposures above are in e/m²: no specimen survives 1e10 e/Å², and none is seen with 1e10 e/m²."""


@dataclass(frozen=True)
class LeginonImage:
    """One image. None: the file does not say."""

    name: str
    kind: str
    """`atlas` (a tile of it), `square`, `hole`, `exposure`, or `focus`."""
    parent: str | None
    """Name of the image on which it was targeted."""
    pixel_size: float | None
    """Å/px. None when the export rounded it to 0."""
    binning: int | None
    magnification: float | None
    voltage: float | None
    spherical_aberration: float | None
    """mm."""
    applied_defocus: float | None
    """Å, positive = underfocus."""
    exposure: float | None
    """e/Å² in total. None when the file says 0 or nothing."""
    frames: int | None
    exposure_time: float | None
    image_shift: tuple[float, float] | None
    """µm."""
    beam_shift: tuple[float, float] | None
    """µm."""
    stage: tuple[float | None, float | None, float | None]
    """x, y, z in µm."""
    tilt: float | None
    """Degrees."""
    file: str | None


@dataclass(frozen=True)
class LeginonSession:
    """`session.json` of an export."""

    name: str
    project: str | None
    images: tuple[LeginonImage, ...]
    """Parents before what was taken from them."""


def is_leginon_export(values: Any) -> bool:
    """Whether what a `session.json` holds is such an export, and not this package's own form."""
    return (
        isinstance(values, dict) and "format" not in values and isinstance(values.get("images"), list) and "msession" in values
    )


def read_leginon_session(path: Path | str) -> LeginonSession:
    """Read an export.

    Raises:
        BadInput: not such a file, or an image without a name.
    """
    try:
        values = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: damaged JSON: {error}") from error
    if not is_leginon_export(values):
        raise BadInput(f"{path}: no export of a Leginon session: it has no msession and images")
    images = list(_walk(values["images"], None, 1, path))
    session = values["msession"] if isinstance(values["msession"], dict) else {}
    project = values.get("project")
    return LeginonSession(
        name=str(session.get("name") or Path(path).parent.name),
        project=str(project["name"]) if isinstance(project, dict) and project.get("name") else None,
        images=tuple(images),
    )


def _walk(entries: Any, parent: str | None, depth: int, path: Path | str) -> Iterator[LeginonImage]:
    if depth > _MAX_DEPTH:
        raise BadInput(f"{path}: images are nested more than {_MAX_DEPTH} deep")
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
            raise BadInput(f"{path}: an image at level {depth} has no name")
        yield _read_image(entry, parent, depth)
        yield from _walk(entry.get("children"), entry["name"], depth + 1, path)


def _read_image(entry: dict[str, Any], parent: str | None, depth: int) -> LeginonImage:
    def number(key: str, factor: float = 1.0) -> float | None:
        value = entry.get(key)
        found = parse_number(str(value)) if value is not None and not isinstance(value, bool) else None
        return None if found is None else float(f"{found * factor:.12g}") + 0.0

    def pair(x: str, y: str) -> tuple[float, float] | None:
        first, second = number(x, 1e6), number(y, 1e6)
        return None if first is None or second is None else (first, second)

    exposure, frames, binning = number("dose"), number("frame_count"), number("binning_x")
    if exposure is not None and exposure > _PER_SQUARE_METRE:
        exposure /= 1e20
    return LeginonImage(
        name=entry["name"],
        kind=_find_kind(entry["name"], depth),
        parent=parent,
        pixel_size=number("pixel_size", 1e10) or None,
        binning=int(binning) if binning and binning >= 1 else None,
        magnification=number("magnification"),
        voltage=number("acceleration_voltage") or None,
        spherical_aberration=number("spherical_aberration", 1e3) or None,
        applied_defocus=number("defocus", -1e10),
        exposure=exposure if exposure and exposure > 0 else None,
        frames=int(frames) if frames and frames >= 1 else None,
        exposure_time=number("exposure_time"),
        image_shift=pair("shift_x", "shift_y"),
        beam_shift=pair("beam_shift_x", "beam_shift_y"),
        stage=(number("stage_x", 1e6), number("stage_y", 1e6), number("stage_z", 1e6)),
        tilt=number("stage_alpha_tilt", 180 / math.pi),
        file=name_file(entry.get("path")) if isinstance(entry.get("path"), str) else None,
    )


def _find_kind(name: str, depth: int) -> str:
    """By the depth; the preset in the name (`..._00002ex`, whatever the site calls it) tells focus images from exposures."""
    for part in reversed(name.split("_")):
        token = _TOKEN.match(part)
        if token:
            if token.group(1) in _FOCUS or token.group(1) in _KINDS:
                return "focus" if token.group(1) in _FOCUS else _KINDS[token.group(1)]
            break
    return _LEVELS.get(depth, "exposure")
