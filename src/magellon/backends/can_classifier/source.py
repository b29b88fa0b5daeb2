"""Boxes of particles, streamed from the stacks that STAR files name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from magellon.backends.can_classifier.tables import ParticleTable
from magellon.contracts import BadInput, ClassificationInput
from magellon.io.mrc import open_mrc
from magellon.io.mrc_header import read_mrc_header

_PIXELS = 1 << 21
"""Of the boxes read at a time."""


@dataclass(frozen=True)
class StackFinder:
    """Where the stacks lie that STAR files name."""

    given: Mapping[Path, Path]
    """STAR file > its one stack, where the input says so."""

    @classmethod
    def of_input(cls, input: ClassificationInput) -> "StackFinder":
        return cls({item.particles.star: item.particles.stack for item in input.items if item.particles.stack is not None})

    def __call__(self, star: Path, name: str) -> Path:
        """Relative to the file's folder, or to a RELION project above it, or just beside the file.

        Raises:
            BadInput: nowhere.
        """
        given = self.given.get(star)
        if given is not None and given.name == Path(name).name:
            return given
        folder = star.absolute().parent
        tried = [above / name for above in (folder, *folder.parents)] + [folder / Path(name).name]
        for path in tried:
            if path.is_file():
                return path
        raise BadInput(f"{star}: the stack {name} is neither below {folder} nor below a folder above it")


def check_boxes(table: ParticleTable) -> int:
    """The side of all boxes.

    Raises:
        BadInput: they differ, are not square, too small, or a stack holds fewer images than are named.
    """
    last = np.full(len(table.stacks), -1)
    np.maximum.at(last, table.stack, table.section)
    sizes: dict[tuple[int, int], Path] = {}
    for path, section in zip(table.stacks, last.tolist(), strict=True):
        header = read_mrc_header(path)
        if section >= header.sections:
            raise BadInput(f"{path}: holds {header.sections} images, but image {section + 1} is named")
        sizes.setdefault((header.height, header.width), path)
    if len(sizes) > 1:
        (first, one), (second, other) = list(sizes.items())[:2]
        raise BadInput(
            f"boxes of different sizes: {one} has {first[1]} x {first[0]} px, {other} {second[1]} x {second[0]} px; "
            "extract all particles with one box size"
        )
    ((height, width), path) = next(iter(sizes.items()))
    if height != width:
        raise BadInput(f"{path}: boxes of {width} x {height} px are not square")
    if width < 16:
        raise BadInput(f"{path}: boxes of {width} px are too small: at least 16 are needed")
    pixels = sorted({group.pixel_size for group in table.groups})
    if pixels[-1] > 1.005 * pixels[0]:
        raise BadInput(
            f"{table.stacks[0]} ...: particles with pixel sizes from {pixels[0]:g} to {pixels[-1]:g} Å cannot be averaged; "
            "extract all with one pixel size"
        )
    return width


def read_boxes(table: ParticleTable, size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """All boxes in the order of their stacks: row numbers (b,) and images (b, size, size), as they are."""
    order = np.lexsort((table.section, table.stack))
    bounds = np.searchsorted(table.stack[order], np.arange(len(table.stacks) + 1))
    rows: list[int] = []
    batch = max(1, _PIXELS // size**2)
    images = np.empty((batch, size, size), dtype=np.float32)
    for path, start, end in zip(table.stacks, bounds[:-1], bounds[1:], strict=True):
        if start == end:
            continue
        with open_mrc(path) as stack:
            for row in order[start:end].tolist():
                images[len(rows)] = stack.read(int(table.section[row]), finite=False)
                rows.append(row)
                if len(rows) == batch:
                    yield np.array(rows), images
                    rows = []
    if rows:
        yield np.array(rows), images[: len(rows)]
