"""Particles of a `.cs` table as a STAR file; the inverse of `cryosparc_particles`, where the conventions stand."""

from pathlib import Path
from typing import Any

import numpy as np

from magellon.errors import BadInput
from magellon.io.cryosparc import Rows, read_cs, read_texts
from magellon.io.cryosparc_particles import MAGNIFICATION
from magellon.io.cryosparc_poses import make_euler_angles
from magellon.io.star import StarTable, write_star

_NEEDED = ("blob/path", "blob/idx", "blob/shape", "blob/psize_A")
_OPTICS = ("ctf/exp_group_id", "ctf/accel_kv", "ctf/cs_mm", "ctf/amp_contrast", "ctf/tilt_A", "ctf/anisomag", "blob/psize_A")


def convert_cs_to_star(source: Path | str, target: Path | str) -> int:
    """Write the particles of a `.cs` file as RELION's STAR file; stacks are named as the `.cs` names them.

    Trefoil and tetrafoil are not carried over. A `blob/sign` of -1 means dark particles, which RELION wants inverted.

    Returns:
        The number of particles.

    Raises:
        BadInput: not a `.cs` file of particles.
    """
    rows = read_cs(source)
    missing = [field for field in _NEEDED if field not in (rows.dtype.names or ())]
    if missing:
        raise BadInput(f"{source}: no field {missing[0]}; it holds no particle images")
    write_star(target, make_particle_tables(rows))
    return len(rows)


def make_particle_tables(rows: Rows) -> dict[str, StarTable]:
    """The blocks `optics` and `particles` of rows with the slot `blob`; other slots as far as there are."""
    groups, numbers = _find_groups(rows)
    return {"optics": _tabulate_optics(rows, groups), "particles": _tabulate_particles(rows, numbers)}


def _names(rows: Rows) -> tuple[str, ...]:
    return rows.dtype.names or ()


def _find_groups(rows: Rows) -> tuple[list[int], list[int]]:
    """The first row of each optics group, in the order of appearance, and each row's group counted from 1."""
    known = [rows[field].reshape(len(rows), -1).astype(np.float64) for field in _OPTICS if field in _names(rows)]
    keys = np.concatenate([*known, rows["blob/shape"].astype(np.float64)], axis=1)
    numbers: dict[bytes, int] = {}
    first: list[int] = []
    found = []
    for row, key in enumerate(map(bytes, np.ascontiguousarray(keys))):
        if key not in numbers:
            numbers[key] = len(numbers) + 1
            first.append(row)
        found.append(numbers[key])
    return first, found


def _tabulate_optics(rows: Rows, first: list[int]) -> StarTable:
    chosen = rows[first]
    names = _names(rows)
    numbers = list(range(1, len(first) + 1))
    groups = chosen["ctf/exp_group_id"].tolist() if "ctf/exp_group_id" in names else [0] * len(first)
    pixel = [_short(value) for value in chosen["blob/psize_A"]]
    micrograph = chosen["location/micrograph_psize_A"] if "location/micrograph_psize_A" in names else chosen["blob/psize_A"]
    columns: dict[str, list[Any]] = {
        "rlnOpticsGroupName": [f"exposures{group}_{number}" for number, group in zip(numbers, groups, strict=True)],
        "rlnOpticsGroup": numbers,
        "rlnMicrographOriginalPixelSize": [_short(value) for value in micrograph],
    }
    for label, field in (
        ("rlnVoltage", "ctf/accel_kv"),
        ("rlnSphericalAberration", "ctf/cs_mm"),
        ("rlnAmplitudeContrast", "ctf/amp_contrast"),
    ):
        if field in names:
            columns[label] = [_short(value) for value in chosen[field]]
    columns |= {
        "rlnImagePixelSize": pixel,
        "rlnImageSize": chosen["blob/shape"][:, 0].tolist(),
        "rlnImageDimensionality": [2] * len(first),
    }
    return StarTable(columns | _aberrations(chosen))


def _short(value: np.floating[Any]) -> str:
    """A float32 by its shortest text that gives it back: 2.7, 1.3099979."""
    return str(np.float32(value))


def _aberrations(chosen: Rows) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    names = _names(chosen)
    if "ctf/tilt_A" in names and chosen["ctf/tilt_A"].any():
        sine = chosen["ctf/tilt_A"].astype(np.float64) / (chosen["ctf/cs_mm"].astype(np.float64)[:, None] * 1e7)
        tilt = np.arcsin(sine) * 1e3
        columns |= {"rlnBeamTiltX": tilt[:, 0].tolist(), "rlnBeamTiltY": tilt[:, 1].tolist()}
    if "ctf/anisomag" in names and chosen["ctf/anisomag"].any():
        matrix = chosen["ctf/anisomag"].astype(np.float64) + np.array([1, 0, 0, 1])
        columns |= {label: matrix[:, place].tolist() for place, label in enumerate(MAGNIFICATION)}
    return columns


def _tabulate_particles(rows: Rows, groups: list[int]) -> StarTable:
    names = _names(rows)
    stacks = read_texts(rows, "blob/path")
    images = [f"{index + 1:06d}@{stack}" for index, stack in zip(rows["blob/idx"].tolist(), stacks, strict=True)]
    columns: dict[str, list[Any]] = {}
    if "location/center_x_frac" in names:
        shape = rows["location/micrograph_shape"].astype(np.float64)
        for axis, side in (("x", 1), ("y", 0)):
            place = rows[f"location/center_{axis}_frac"].astype(np.float64) * shape[:, side]
            columns[f"rlnCoordinate{axis.upper()}"] = place.tolist()
    columns |= {
        "rlnImageName": images,
        "rlnMicrographName": read_texts(rows, "location/micrograph_path") if "location/micrograph_path" in names else stacks,
        "rlnOpticsGroup": groups,
    }
    if "ctf/df1_A" in names:
        columns |= _tabulate_ctf(rows)
    slot = next((slot for slot in ("alignments3D", "alignments2D") if f"{slot}/pose" in names), None)
    return StarTable(columns | (_tabulate_alignments(rows, slot) if slot else {}))


def _tabulate_ctf(rows: Rows) -> dict[str, list[Any]]:
    def double(field: str) -> np.ndarray[Any, Any]:
        return rows[field].astype(np.float64)

    columns = {
        "rlnDefocusU": double("ctf/df1_A"),
        "rlnDefocusV": double("ctf/df2_A"),
        "rlnDefocusAngle": np.rad2deg(double("ctf/df_angle_rad")),
        "rlnPhaseShift": np.rad2deg(double("ctf/phase_shift_rad")),
    }
    for label, field in (("rlnCtfBfactor", "ctf/bfactor"), ("rlnCtfScalefactor", "ctf/scale")):
        if field in _names(rows):
            columns[label] = double(field)
    return {label: values.tolist() for label, values in columns.items()}


def _tabulate_alignments(rows: Rows, slot: str) -> dict[str, list[Any]]:
    pose = rows[f"{slot}/pose"].astype(np.float64)
    origin = rows[f"{slot}/shift"].astype(np.float64) * rows[f"{slot}/psize_A"].astype(np.float64)[:, None]
    columns: dict[str, list[Any]] = {}
    if slot == "alignments3D":
        angles = make_euler_angles(pose)
        columns |= {f"rlnAngle{name}": angles[:, place].tolist() for place, name in enumerate(("Rot", "Tilt", "Psi"))}
    else:
        columns["rlnAnglePsi"] = np.rad2deg(pose).tolist()
    columns |= {"rlnOriginXAngst": origin[:, 0].tolist(), "rlnOriginYAngst": origin[:, 1].tolist()}
    columns["rlnClassNumber"] = (rows[f"{slot}/class"].astype(np.int64) + 1).tolist()
    split = rows[f"{slot}/split"]
    if split.any():
        columns["rlnRandomSubset"] = (split.astype(np.int64) + 1).tolist()
    return columns
