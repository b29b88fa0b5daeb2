"""What STAR files say of particles, as arrays: one pass over the text, which is not kept."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.backends.can_classifier.optics import Group, read_groups
from magellon.contracts import BadInput
from magellon.io.star import StarTable
from magellon.io.star_stream import StarStream

BLOCKS = ("particles", "images", "")
"""Where the rows of particles stand: RELION 3.1 and later, relion_extract's of single micrographs, and earlier versions."""
_IMAGE = "rlnImageName"
_LARGEST = 1e7
"""Of a defocus or a shift in Å, or an angle in degrees: a millimetre."""


@dataclass(frozen=True)
class ParticleTable:
    """All particles (n,) of one or more STAR files, in their order."""

    stacks: tuple[Path, ...]
    stack: NDArray[np.int32]
    """Which of the stacks."""
    section: NDArray[np.int32]
    """Which image of it, from 0."""
    groups: tuple[Group, ...]
    group: NDArray[np.int32]
    ctf: NDArray[np.float32] | None
    """(n, 6): defocus U, V, its angle, phase shift, B factor, scale factor. None: particles without CTF."""
    origin: NDArray[np.float32]
    """(n, 2) `rlnOrigin`, (y, x) in Å."""
    place: NDArray[np.float64]
    """(n, 2) coordinates in the micrograph, (y, x) in its pixels; NaN where there are none."""
    micrograph: NDArray[np.int32]
    """Which micrograph, numbered in the order they appear."""
    counts: tuple[int, ...]
    """Particles of each STAR file."""

    def __len__(self) -> int:
        return len(self.stack)


def open_particles(path: Path) -> StarStream:
    """The rows of particles of a STAR file.

    Raises:
        BadInput: it has none.
    """
    for block in BLOCKS:
        try:
            stream = StarStream(path, block)
        except BadInput:
            if not path.is_file():
                raise
            continue
        if _IMAGE in stream.labels:
            return stream
        stream.__exit__(None, None, None)
    raise BadInput(f"{path}: no table of particles: none of the blocks {', '.join(f'data_{b}' for b in BLOCKS)} has {_IMAGE}")


def read_particle_tables(stars: Sequence[Path], find_stack: Callable[[Path, str], Path]) -> ParticleTable:
    """Read the particles of STAR files.

    Args:
        find_stack: (STAR file, name in it) > where the stack lies.

    Raises:
        BadInput: damaged, without any particle, or files that do not go together.
    """
    reader = _Reader(find_stack)
    for star in stars:
        with open_particles(star) as stream:
            reader.begin(star, stream)
            for piece in stream.pieces():
                reader.add(piece)
    return reader.finish(stars)


class _Reader:
    """Collects columns piece by piece."""

    def __init__(self, find_stack: Callable[[Path, str], Path]) -> None:
        self._find_stack = find_stack
        self._stacks: dict[Path, int] = {}
        self._groups: dict[Group, int] = {}
        self._micrographs: dict[str, int] = {}
        self._columns: dict[str, list[NDArray[np.generic]]] = {
            name: [] for name in ("stack", "section", "group", "ctf", "origin", "place", "micrograph")
        }
        self._with_ctf: set[bool] = set()
        self._counts: list[int] = []

    def begin(self, star: Path, stream: StarStream) -> None:
        self._star, self._stream = star, stream
        self._of_names: dict[str, int] = {}
        self._counts.append(0)

    def add(self, piece: StarTable) -> None:
        stacks, sections = zip(*map(self._split_name, piece.texts(_IMAGE)), strict=True)
        found = read_groups(piece, self._stream.head.get("optics"), self._star)
        numbers = {group: self._groups.setdefault(group, len(self._groups)) for group in dict.fromkeys(found)}
        pixel = np.array([group.pixel_size for group in found])
        names = piece.texts("rlnMicrographName") if "rlnMicrographName" in piece else list(map(str, stacks))
        self._append("stack", np.array(stacks, dtype=np.int32))
        self._append("section", np.array(sections, dtype=np.int32))
        self._append("group", np.array([numbers[group] for group in found], dtype=np.int32))
        self._append("origin", self._check("an origin (rlnOriginX, ...)", _read_origins(piece, pixel)))
        self._append("place", _read_places(piece))
        self._append(
            "micrograph",
            np.array([self._micrographs.setdefault(name, len(self._micrographs)) for name in names], dtype=np.int32),
        )
        self._with_ctf.add("rlnDefocusU" in piece)
        if "rlnDefocusU" in piece:
            self._append("ctf", self._check("the CTF (rlnDefocusU, ...)", _read_ctf(piece)))
        self._counts[-1] += piece.rows

    def _check(self, what: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        wrong = np.flatnonzero(~(np.abs(values) < _LARGEST).all(1))
        if len(wrong):
            row = self._counts[-1] + int(wrong[0]) + 1
            said = ", ".join(f"{value:g}" for value in values[wrong[0]])
            raise BadInput(f"{self._star}: particle {row}: {what} is {said}: each must be a number below {_LARGEST:g}")
        return values

    def _append(self, name: str, values: NDArray[np.generic]) -> None:
        self._columns[name].append(values)

    def _split_name(self, name: str) -> tuple[int, int]:
        number, at, stack = name.partition("@")
        if not at:
            number, stack = "1", name
        if stack not in self._of_names:
            path = self._find_stack(self._star, stack)
            self._of_names[stack] = self._stacks.setdefault(path, len(self._stacks))
        if not number.isdigit() or int(number) < 1:
            raise BadInput(f"{self._star}: {_IMAGE} {name!r} does not begin with the number of an image, counted from 1")
        return self._of_names[stack], int(number) - 1

    def finish(self, stars: Sequence[Path]) -> ParticleTable:
        if not self._columns["stack"]:
            raise BadInput(f"{stars[0]}: no particles" + (f", nor in {len(stars) - 1} more files" if len(stars) > 1 else ""))
        if len(self._with_ctf) > 1:
            raise BadInput(
                f"{stars[0]} ...: some particles have a CTF (rlnDefocusU) and others none: give one sort or the other"
            )
        joined = {name: np.concatenate(parts) if parts else None for name, parts in self._columns.items()}
        return ParticleTable(
            stacks=tuple(self._stacks),
            groups=tuple(self._groups),
            counts=tuple(self._counts),
            **joined,  # type: ignore[arg-type]
        )


def _read_ctf(piece: StarTable) -> NDArray[np.float32]:
    u = piece.floats("rlnDefocusU")
    v = piece.floats("rlnDefocusV") if "rlnDefocusV" in piece else u
    rest = (
        piece.floats(label, default)
        for label, default in (
            ("rlnDefocusAngle", 0.0), ("rlnPhaseShift", 0.0), ("rlnCtfBfactor", 0.0), ("rlnCtfScalefactor", 1.0),
        )
    )  # fmt: skip
    return np.array([u, v, *rest], dtype=np.float32).T


def _read_origins(piece: StarTable, pixel: NDArray[np.float64]) -> NDArray[np.float32]:
    if "rlnOriginXAngst" in piece and "rlnOriginYAngst" in piece:
        return np.array([piece.floats("rlnOriginYAngst"), piece.floats("rlnOriginXAngst")], dtype=np.float32).T
    if "rlnOriginX" in piece and "rlnOriginY" in piece:
        return (np.array([piece.floats("rlnOriginY"), piece.floats("rlnOriginX")]) * pixel).T.astype(np.float32)
    return np.zeros((piece.rows, 2), dtype=np.float32)


def _read_places(piece: StarTable) -> NDArray[np.float64]:
    if "rlnCoordinateX" not in piece or "rlnCoordinateY" not in piece:
        return np.full((piece.rows, 2), np.nan)
    return np.array([piece.floats("rlnCoordinateY"), piece.floats("rlnCoordinateX")]).T


def iterate_pieces(stars: Sequence[Path]) -> Iterator[tuple[StarStream, StarTable]]:
    """The rows of all files again, in the same order."""
    for star in stars:
        with open_particles(star) as stream:
            for piece in stream.pieces():
                yield stream, piece
