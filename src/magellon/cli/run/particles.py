"""STAR files of particles as inputs of `magellon run`, and links to their stacks beside the results."""

import os
from collections.abc import Iterable
from pathlib import Path

from magellon.cli.problems import naming
from magellon.contracts import Classes, Particles
from magellon.errors import BadInput
from magellon.io.mrc_header import read_mrc_header
from magellon.io.star import StarTable
from magellon.io.star_stream import StarStream

_BLOCKS = ("particles", "images", "")


def find_particles(star: Path) -> Particles:
    """What a STAR file of particles says of itself.

    Raises:
        BadInput: it holds no particles, or its first stack is missing.
    """
    with _open(star) as stream:
        count, first, stack = 0, None, None
        for piece in stream.pieces():
            if first is None:
                first = piece
                stack = find_stack(star, piece.texts("rlnImageName")[0].rpartition("@")[2])
            count += piece.rows
        if first is None or stack is None:
            raise BadInput(f"{star}: no particles")
        header = read_mrc_header(stack)
        pixel_size = _read_pixel_size(stream.head.get("optics"), first, header.pixel_size)
    if pixel_size is None:
        raise BadInput(f"{star}: neither the file nor the stack {stack.name} says the pixel size")
    with naming(star):
        return Particles(star=star.absolute(), stack=None, count=count, box=header.width, pixel_size=pixel_size)


def find_classes(folder: Path) -> Classes:
    """The classes of an earlier run, or of a session's step, in their folder.

    Raises:
        BadInput: there are none.
    """
    averages, table = folder.absolute() / "class_averages.mrcs", folder.absolute() / "class_averages.star"
    for path in (averages, table):
        if not path.is_file():
            raise BadInput(f"--start: {folder} is no folder of 2D classes: there is no {path.name} in it")
    header = read_mrc_header(averages)
    if header.pixel_size is None:
        raise BadInput(f"{averages}: does not say its pixel size")
    with naming(averages):
        return Classes(averages=averages, table=table, box=header.width, pixel_size=header.pixel_size)


def _open(star: Path) -> StarStream:
    for block in _BLOCKS:
        try:
            stream = StarStream(star, block)
        except BadInput as error:
            if "no block" in str(error) or "no columns" in str(error):
                continue
            raise
        if "rlnImageName" in stream.labels:
            return stream
        stream.__exit__(None, None, None)
    raise BadInput(f"{star}: not a STAR file of particles: no block has rlnImageName")


def _read_pixel_size(optics: StarTable | None, first: StarTable, of_header: float | None) -> float | None:
    if optics is not None and "rlnImagePixelSize" in optics:
        return optics.floats("rlnImagePixelSize")[0]
    if "rlnDetectorPixelSize" in first and "rlnMagnification" in first:
        return first.floats("rlnDetectorPixelSize")[0] * 1e4 / first.floats("rlnMagnification")[0]
    return of_header


def find_stack(star: Path, name: str) -> Path:
    """Where a stack lies: relative to the STAR file's folder, or to a project above it, or just beside the file.

    Raises:
        BadInput: nowhere.
    """
    folder = star.absolute().parent
    for path in (*(above / name for above in (folder, *folder.parents)), folder / Path(name).name):
        if path.is_file():
            return path
    raise BadInput(f"{star}: the stack {name} is neither below {folder} nor below a folder above it")


def link_stacks(stars: Iterable[Path], out: Path) -> None:
    """Make the names of images in STAR files of `out` true there, so that it is a RELION project folder."""
    for star in stars:
        names: set[str] = set()
        with _open(star) as stream:
            for piece in stream.pieces():
                names |= {name.rpartition("@")[2] for name in piece.texts("rlnImageName")}
        for name in sorted(names):
            _link(find_stack(star, name), out / name, out)


def _link(path: Path, link: Path, out: Path) -> None:
    if (
        not link.resolve().is_relative_to(out.resolve())
        or link.resolve() == path.resolve()
        or Path(os.path.normpath(link)) != link
    ):
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    temporary = link.parent / f".{link.name}.{os.getpid()}"
    temporary.symlink_to(path.resolve())
    temporary.replace(link)
