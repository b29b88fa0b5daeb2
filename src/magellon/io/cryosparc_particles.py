"""Particles of a STAR file as rows of a `.cs` table.

| STAR | .cs |
|---|---|
| `000001@stack.mrcs` | `blob/path`, `blob/idx` counted from 0 |
| defocus, pixel sizes, voltage, spherical aberration | the same numbers, in float32 |
| degrees | radians |
| optics group, class, half set counted from 1 | counted from 0 |
| coordinate in pixels | fraction of the micrograph's width or height, from row 0 of the file |
| origin in Å | `alignments*/shift` in pixels of `alignments*/psize_A`, with the same sign; (x, y) |
| rot, tilt, psi | `alignments3D/pose`, see `cryosparc_poses`; psi alone is `alignments2D/pose` |
| magnification matrix | `ctf/anisomag`: the matrix less identity |
| beam tilt in mrad | `ctf/tilt_A`: sin(tilt) Cs |
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.cryosparc import Rows
from magellon.io.cryosparc_poses import make_rotation_vectors
from magellon.io.star import StarTable

Columns = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]

CTF_TYPE = b"imported"
BRIGHT, DARK = 1.0, -1.0
"""`blob/sign`: particles brighter or darker than their background."""
MAGNIFICATION = ("rlnMagMat00", "rlnMagMat01", "rlnMagMat10", "rlnMagMat11")
_POWERS = ("error", "error_min", "resid_pow", "slice_pow", "image_pow", "cross_cor")


def _no_shape(name: str) -> tuple[int, int] | None:
    return None


@dataclass(frozen=True)
class ParticleContext:
    """What a STAR file does not say of its particles."""

    measure_box: Callable[[str], int]
    """Side of the boxes of a stack in pixels, asked for where the optics table does not say it."""
    measure_micrograph: Callable[[str], tuple[int, int] | None] = _no_shape
    """(height, width) of a micrograph by its name; None: unknown, and there will be no locations."""
    sign: float = BRIGHT
    salt: str = ""
    """Makes the particles' numbers differ from those of the same names elsewhere."""


@dataclass(frozen=True)
class Layout:
    """What a STAR file knows of alignments. Of a file read in pieces, that of all pieces: `one.and_of(other)`."""

    directions: bool
    """Some rot or tilt is not zero."""
    classes: bool
    """Every particle has a class and an in-plane angle."""
    origins: bool
    """Some origin is not zero; zeros alone say nothing."""

    @classmethod
    def of(cls, table: StarTable) -> "Layout":
        angled = "rlnAnglePsi" in table
        directions = angled and any(any(table.floats(label, 0.0)) for label in ("rlnAngleRot", "rlnAngleTilt"))
        classes = angled and min(table.ints("rlnClassNumber", 0), default=1) > 0
        return cls(directions, classes, bool(_read_origins(table, np.ones(table.rows)).any()))

    def and_of(self, other: "Layout") -> "Layout":
        return Layout(self.directions or other.directions, self.classes and other.classes, self.origins or other.origins)

    @property
    def slot(self) -> str | None:
        return "alignments3D" if self.directions else "alignments2D" if self.classes else None


def make_particle_rows(
    table: StarTable, optics: StarTable | None, context: ParticleContext, layout: Layout | None = None
) -> Rows:
    """Rows of `table`, in its order. Without an optics table it is one of RELION 3.0 or before.

    `layout` is that of the whole file where `table` is a piece of it.

    Raises:
        BadInput: a column is missing, or holds what cannot be.
    """
    layout = layout or Layout.of(table)
    stacks, indices = _split_names(table)
    view = _OpticsView(table, optics)
    columns = _blob_columns(stacks, indices, view, context)
    if "rlnDefocusU" in table:
        columns |= _ctf_columns(table, view)
    columns |= _location_columns(table, view, context, centred=layout.slot is None and layout.origins)
    return assemble_rows(columns | _alignment_columns(table, view, layout))


def assemble_rows(columns: Mapping[str, NDArray[Any]]) -> Rows:
    """Columns, all equally long, as one array with named fields."""
    kind = np.dtype([(name, column.dtype.str, column.shape[1:]) for name, column in columns.items()])
    rows = np.zeros(len(next(iter(columns.values()))), dtype=kind)
    for name, column in columns.items():
        rows[name] = column
    return rows


def name_number(salt: str, name: str) -> int:
    """The `uid` of what has a name: 64 bits, the same everywhere."""
    return int.from_bytes(hashlib.blake2b(f"{salt}\0{name}".encode(), digest_size=8).digest(), "little")


def _number_images(stacks: list[str], indices: NDArray[np.uint32], salt: str) -> NDArray[np.uint64]:
    """One number per image, spread over 64 bits (Steele et al. 2014, SplitMix64)."""
    numbers = {stack: name_number(salt, stack) for stack in set(stacks)}
    value = np.array([numbers[stack] for stack in stacks], dtype=np.uint64)
    value += (indices.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _split_names(table: StarTable) -> tuple[list[str], NDArray[np.uint32]]:
    stacks, indices = [], []
    for row, name in enumerate(table.texts("rlnImageName"), 1):
        number, at, stack = name.partition("@")
        if not at or not number.isdigit() or int(number) < 1:
            raise BadInput(f"{table.source}: rlnImageName in row {row} is {name!r}, not NUMBER@STACK counted from 1")
        stacks.append(stack)
        indices.append(int(number) - 1)
    return stacks, np.array(indices, dtype=np.uint32)


class _OpticsView:
    """What the optics table says of each row; of an old file, what the row itself says."""

    def __init__(self, table: StarTable, optics: StarTable | None) -> None:
        self.table, self._optics = table, optics
        self.groups = np.array(table.ints("rlnOpticsGroup", 1), dtype=np.int64)
        if optics is not None:
            places = {group: place for place, group in enumerate(optics.ints("rlnOpticsGroup"))}
            unknown = set(self.groups.tolist()) - places.keys()
            if unknown:
                raise BadInput(f"{table.source}: optics group {min(unknown)} is not in the optics table")
            self._places = np.array([places[group] for group in self.groups.tolist()], dtype=np.int64)

    def floats(self, label: str, default: float | None = None) -> Floats:
        if self._optics is not None and label in self._optics:
            return np.array(self._optics.floats(label), dtype=np.float64)[self._places]
        return np.array(self.table.floats(label, default), dtype=np.float64)

    def has(self, label: str) -> bool:
        return label in self.table or (self._optics is not None and label in self._optics)

    def pixel_size(self) -> Floats:
        """Of the boxes; from the detector's pixel and the magnification in old files."""
        if self.has("rlnImagePixelSize"):
            return self.floats("rlnImagePixelSize")
        if self.has("rlnDetectorPixelSize"):
            return self.floats("rlnDetectorPixelSize") * 1e4 / self.floats("rlnMagnification")
        return self.floats("rlnPixelSize")

    def micrograph_pixel_size(self) -> Floats:
        for label in ("rlnMicrographPixelSize", "rlnMicrographOriginalPixelSize"):
            if self.has(label):
                return self.floats(label)
        return self.pixel_size()

    def box(self, stacks: list[str], measure: Callable[[str], int]) -> NDArray[np.uint32]:
        if self.has("rlnImageSize"):
            return self.floats("rlnImageSize").astype(np.uint32)
        sides = {stack: measure(stack) for stack in dict.fromkeys(stacks)}
        return np.array([sides[stack] for stack in stacks], dtype=np.uint32)


def _blob_columns(stacks: list[str], indices: NDArray[np.uint32], view: _OpticsView, context: ParticleContext) -> Columns:
    count = len(stacks)
    box = view.box(stacks, context.measure_box)
    return {
        "uid": _number_images(stacks, indices, context.salt),
        "blob/path": encode_texts(stacks),
        "blob/idx": indices,
        "blob/shape": np.stack([box, box], axis=1),
        "blob/psize_A": view.pixel_size().astype(np.float32),
        "blob/sign": np.full(count, context.sign, dtype=np.float32),
        "blob/import_sig": np.full(count, name_number(context.salt, "import"), dtype=np.uint64),
    }


def encode_texts(texts: list[str]) -> NDArray[Any]:
    """Texts as fixed-width bytes."""
    encoded = [text.encode() for text in texts]
    return np.array(encoded, dtype=f"S{max([1, *map(len, encoded)])}")


def _ctf_columns(table: StarTable, view: _OpticsView) -> Columns:
    def single(values: Floats) -> NDArray[np.float32]:
        return values.astype(np.float32)

    def own(label: str, default: float | None = None) -> Floats:
        return np.array(table.floats(label, default), dtype=np.float64)

    zeros = np.zeros((table.rows, 4), dtype=np.float32)
    cs = view.floats("rlnSphericalAberration")
    tilts = [np.sin(view.floats(f"rlnBeamTilt{axis}", 0.0) * 1e-3) * cs * 1e7 for axis in "XY"]
    matrix = [view.floats(label, float(label[-1] == label[-2])) - (label[-1] == label[-2]) for label in MAGNIFICATION]
    return {
        "ctf/type": np.full(table.rows, CTF_TYPE),
        "ctf/exp_group_id": (view.groups - 1).astype(np.uint32),
        "ctf/accel_kv": single(view.floats("rlnVoltage")),
        "ctf/cs_mm": single(cs),
        "ctf/amp_contrast": single(view.floats("rlnAmplitudeContrast")),
        "ctf/df1_A": single(own("rlnDefocusU")),
        "ctf/df2_A": single(own("rlnDefocusV")),
        "ctf/df_angle_rad": single(np.deg2rad(own("rlnDefocusAngle"))),
        "ctf/phase_shift_rad": single(np.deg2rad(own("rlnPhaseShift", 0.0))),
        "ctf/scale": single(own("rlnCtfScalefactor", 1.0)),
        "ctf/scale_const": zeros[:, 0],
        "ctf/shift_A": zeros[:, :2],
        "ctf/tilt_A": single(np.stack(tilts, axis=1)),
        "ctf/trefoil_A": zeros[:, :2],
        "ctf/tetra_A": zeros,
        "ctf/anisomag": single(np.stack(matrix, axis=1)),
        "ctf/bfactor": single(own("rlnCtfBfactor", 0.0)),
    }


def _read_origins(table: StarTable, pixel_size: Floats) -> Floats:
    """(n, 2), (x, y) in Å; zero where the file has none."""
    if "rlnOriginXAngst" in table:
        return np.array([table.floats(f"rlnOrigin{axis}Angst") for axis in "XY"], dtype=np.float64).T
    return np.array([table.floats(f"rlnOrigin{axis}", 0.0) for axis in "XY"], dtype=np.float64).T * pixel_size[:, None]


def _location_columns(table: StarTable, view: _OpticsView, context: ParticleContext, *, centred: bool) -> Columns:
    """Where the boxes lie; `centred`: where the particles do, as no alignment says how far they are from the box's centre."""
    if "rlnCoordinateX" not in table or "rlnMicrographName" not in table:
        return {}
    names = table.texts("rlnMicrographName")
    shapes = {name: context.measure_micrograph(name) for name in dict.fromkeys(names)}
    known = {name: shape for name, shape in shapes.items() if shape is not None}
    if len(known) < len(shapes):
        return {}
    numbers = {name: name_number(context.salt, name) for name in known}
    shape = np.array([known[name] for name in names], dtype=np.uint32)
    pixel = view.micrograph_pixel_size()
    centres = np.array([table.floats("rlnCoordinateX"), table.floats("rlnCoordinateY")], dtype=np.float64).T
    origins = _read_origins(table, view.pixel_size())
    if centred:
        centres = np.trunc(centres) - origins / pixel[:, None]
    fractions = (centres / shape[:, ::-1]).astype(np.float32)
    return {
        "location/micrograph_uid": np.array([numbers[name] for name in names], dtype=np.uint64),
        "location/exp_group_id": (view.groups - 1).astype(np.uint32),
        "location/micrograph_path": encode_texts(names),
        "location/micrograph_shape": shape,
        "location/micrograph_psize_A": pixel.astype(np.float32),
        "location/center_x_frac": fractions[:, 0],
        "location/center_y_frac": fractions[:, 1],
    }


def _alignment_columns(table: StarTable, view: _OpticsView, layout: Layout) -> Columns:
    """`alignments3D` where there are directions, `alignments2D` where there are classes with in-plane angles, or nothing."""
    if layout.slot is None:
        return {}
    angles = np.stack([table.floats(f"rlnAngle{name}", 0.0) for name in ("Rot", "Tilt", "Psi")], axis=1)
    pose = make_rotation_vectors(angles) if layout.directions else np.deg2rad(angles[:, 2])
    classes = np.array(table.ints("rlnClassNumber", 0), dtype=np.int64)
    pixel = view.pixel_size()
    ones, zeros = np.ones(table.rows, dtype=np.float32), np.zeros(table.rows, dtype=np.float32)
    subset = np.array(table.ints("rlnRandomSubset", 1), dtype=np.int64)
    fields = {
        "split": np.maximum(subset - 1, 0).astype(np.uint32),
        "shift": (_read_origins(table, pixel) / pixel[:, None]).astype(np.float32),
        "pose": pose.astype(np.float32),
        "psize_A": pixel.astype(np.float32),
        **dict.fromkeys(_POWERS, zeros),
        "alpha": ones,
        "weight": zeros,
        "pose_ess": zeros,
        "shift_ess": zeros,
        "class_posterior": ones,
        "class": np.maximum(classes - 1, 0).astype(np.uint32),
        "class_ess": ones,
    }
    return {f"{layout.slot}/{name}": column for name, column in fields.items()}
