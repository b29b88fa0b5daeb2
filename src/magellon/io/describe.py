"""What a file is, for people: facts of its header, statistics of its pixels and a small picture."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.cryosparc import find_slots, read_cs, read_csg, read_texts
from magellon.io.dm4 import read_dm4
from magellon.io.eer import EerMovie
from magellon.io.files import find_suffix
from magellon.io.mrc import MrcFile
from magellon.io.mrc_header import MrcHeader
from magellon.io.picture import shrink
from magellon.io.star import read_star
from magellon.io.tiff import TiffFile
from magellon.io.tiff_header import find_pixel_size

_MRC, _TIFF = {".mrc", ".mrcs", ".st", ".map", ".ali", ".rec"}, {".tif", ".tiff", ".gain"}
SUFFIXES = (*sorted(_MRC | _TIFF), ".eer", ".dm3", ".dm4", ".star", ".cs", ".csg")
_MAX_FRAMES = 32
_GALLERY_BOX = 512
_EER_RAW_FRAMES = 40


@dataclass(frozen=True)
class FileDescription:
    """A file as `magellon show` prints it."""

    path: Path
    kind: str
    """Such as "MRC stack of 242 images"."""
    facts: dict[str, str]
    """Lines of the header, with units, in the order to show them."""
    statistics: dict[str, float] = field(default_factory=dict)
    """Of the pixels named by the fact "statistics of"; empty for a file without pixels."""
    picture: NDArray[np.float32] | None = None
    """(y, x), row 0 on top, at most `size` pixels a side."""


def describe_file(path: Path | str, size: int = 1024) -> FileDescription:
    """Describe a file of any supported format; of a large one only some frames are read.

    Args:
        size: longest side of the picture, pixels.

    Raises:
        BadInput: damaged, or a format that is not supported.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # absurd pixels are shown, not refused
        return _describe(Path(path), size)


def _describe(path: Path, size: int) -> FileDescription:
    suffix = find_suffix(path)
    if suffix in _MRC:
        return _describe_mrc(path, size)
    if suffix in _TIFF:
        return _describe_tiff(path, size)
    if suffix == ".eer":
        return _describe_eer(path, size)
    if suffix in {".dm3", ".dm4"}:
        image = read_dm4(path)
        facts = {"size": _format_size(image.shape), "pixels": image.dtype.name}
        pixels = _Pixels(size)
        pixels.add(image)
        return FileDescription(path, "DigitalMicrograph image", facts, pixels.statistics, pixels.picture)
    if suffix == ".star":
        return _describe_star(path)
    if suffix == ".cs":
        return _describe_cs(path)
    if suffix == ".csg":
        return _describe_csg(path)
    raise BadInput(f"{path}: format not supported; the name ends in none of {', '.join(SUFFIXES)}")


class _Pixels:
    """Statistics and a picture of images that come one after another: never more than one is held."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._low, self._high, self._total, self._squares = np.inf, -np.inf, 0.0, 0.0
        self._count = self._bad = 0
        self._sum: NDArray[np.float32] | None = None
        self._small: list[NDArray[np.float32]] = []

    def add(self, image: NDArray[Any]) -> None:
        values = image.astype(np.float32)
        known = image
        if image.dtype.kind == "f":
            finite = np.isfinite(image)
            known = image[finite]
            self._bad += image.size - known.size
            values[~finite] = 0
        if known.size:
            self._low, self._high = min(self._low, float(known.min())), max(self._high, float(known.max()))
            self._total += float(known.sum(dtype=np.float64))
            self._squares += float(np.square(known, dtype=np.float64).sum())
            self._count += known.size
        if max(values.shape) <= _GALLERY_BOX:
            self._small.append(values)
        elif self._sum is None:
            self._sum = values
        else:
            self._sum += values

    @property
    def statistics(self) -> dict[str, float]:
        """Of the finite pixels, and the number of the others if there are any."""
        bad = {"not finite": float(self._bad)} if self._bad else {}
        if self._count == 0:
            return bad
        mean = self._total / self._count
        deviation = max(self._squares / self._count - mean * mean, 0.0) ** 0.5
        return {"minimum": self._low, "maximum": self._high, "mean": mean, "standard deviation": deviation, **bad}

    @property
    def picture(self) -> NDArray[np.float32]:
        """One image as it is, small ones side by side, large ones summed."""
        if self._sum is not None:
            return _as_picture(self._sum, self._size)
        if len(self._small) == 1:
            return _as_picture(self._small[0], self._size)
        return _as_picture(_tile([_standardise(image) for image in self._small]), self._size)


def _describe_mrc(path: Path, size: int) -> FileDescription:
    with MrcFile(path) as mrc:
        header = mrc.header
        indices = _spread(header.sections, _MAX_FRAMES)
        pixels = _Pixels(size)
        for index in indices:
            pixels.add(mrc.read(index, native=True, finite=False))
    facts = _list_mrc_facts(header)
    _note_sections(facts, indices, header.sections)
    kind = "MRC image" if header.sections == 1 else f"MRC stack of {header.sections} images"
    if header.space_group > 0 and header.sections > 1:
        kind = "MRC volume"
    return FileDescription(path, kind, facts, pixels.statistics, pixels.picture)


def _list_mrc_facts(header: MrcHeader) -> dict[str, str]:
    signed = "" if header.mode != 0 or header.packed else " signed" if header.signed_bytes else " unsigned"
    facts = {
        "size": f"{header.width} x {header.height} x {header.sections}",
        "mode": f"{header.mode}{signed}{' packed 4-bit' if header.packed else ''}",
        "byte order": "little-endian" if header.little_endian else "big-endian",
        "pixel size": _with_unit(header.pixel_size, "Å"),
        "extended header": f"{header.data_offset - 1024} bytes {header.extended_type}".strip(),
    }
    if not header.map_stamp:
        facts["stamp"] = "none (older than MRC2000)"
    if header.metadata is not None:
        metadata = header.metadata
        facts |= {
            "microscope": metadata.microscope or "unknown",
            "voltage": _with_unit(metadata.voltage, "kV"),
            "exposure": _with_unit(metadata.exposure, "e/Å²"),
            "applied defocus": _with_unit(metadata.applied_defocus, "Å"),
            "camera": metadata.camera or "unknown",
        }
    return facts | {f"label {number}": label for number, label in enumerate(header.labels, 1)}


def _describe_tiff(path: Path, size: int) -> FileDescription:
    with TiffFile(path) as tiff:
        indices = _spread(len(tiff.pages), _MAX_FRAMES)
        pixels = _Pixels(size)
        for index in indices:
            pixels.add(tiff.read(index)[::-1])
        first = tiff.pages[0]
        facts = {
            "size": f"{tiff.shape[1]} x {tiff.shape[0]} x {len(tiff.pages)}",
            "pixels": f"{tiff.dtype.name}{'' if tiff.packing == 'none' else ', 4-bit packed'}",
            "compression": tiff.compression,
            "pixel size": _with_unit(find_pixel_size(first), "Å"),
            "rows": "shown from the last to the first, as TIFF movies and gains are read",
        }
        pages = len(tiff.pages)
    _note_sections(facts, indices, pages)
    kind = "TIFF image" if pages == 1 else f"TIFF movie of {pages} frames"
    return FileDescription(path, kind, facts, pixels.statistics, pixels.picture)


def _describe_eer(path: Path, size: int) -> FileDescription:
    with EerMovie(path) as movie:
        count = min(movie.raw_frames, _EER_RAW_FRAMES)
        image = np.zeros((movie.height, movie.width), dtype=np.float32)
        for index in range(count):
            image += movie.read(index)
        facts = {
            "size": f"{movie.width} x {movie.height} x {movie.raw_frames} raw frames",
            "pixel size": _with_unit(movie.pixel_size, "Å"),
            "statistics of": f"the sum of the first {count} raw frames",
            "electrons per pixel and raw frame": f"{float(image.mean(dtype=np.float64)) / count:.5f}",
        }
        facts |= {name: value for name, value in movie.metadata.items() if value}
        raw_frames = movie.raw_frames
    pixels = _Pixels(size)
    pixels.add(image)
    return FileDescription(path, f"EER movie of {raw_frames} raw frames", facts, pixels.statistics, pixels.picture)


def _describe_star(path: Path) -> FileDescription:
    tables = read_star(path)
    facts = {}
    for name, table in tables.items():
        labels = ", ".join(list(table)[:8]) + (", ..." if len(table) > 8 else "")
        facts[f"data_{name}"] = f"{table.rows} rows of {len(table)} columns: {labels}"
    return FileDescription(path, f"STAR file of {len(tables)} blocks", facts)


def _describe_cs(path: Path) -> FileDescription:
    rows = read_cs(path)
    names = rows.dtype.names or ()
    facts = {}
    for slot in ["uid", *find_slots(rows)]:
        fields = [name.partition("/")[2] for name in names if name.startswith(f"{slot}/")]
        facts[slot] = ", ".join(fields) or f"{len(np.unique(rows[slot])) if slot in names else 'no'} different"
    if "blob/path" in names and len(rows):
        stacks = read_texts(rows, "blob/path")
        facts["first image"] = f"{int(rows['blob/idx'][0])} of {stacks[0]}" if "blob/idx" in names else stacks[0]
    if "blob/sign" in names and len(rows):
        facts["particles are"] = "dark" if float(rows["blob/sign"][0]) < 0 else "bright"
    return FileDescription(path, f"cryoSPARC table of {len(rows)} rows", facts)


def _describe_csg(path: Path) -> FileDescription:
    group = read_csg(path)
    facts = {slot: f"{each.rows} rows of {each.kind} in {each.file}" for slot, each in group.results.items()}
    return FileDescription(path, f"cryoSPARC group {group.name} of type {group.kind}", {"title": group.title, **facts})


def _standardise(image: NDArray[Any]) -> NDArray[np.float32]:
    values = image.astype(np.float32)
    scaled: NDArray[np.float32] = (values - values.mean()) / max(float(values.std(dtype=np.float64)), 1e-12)
    return scaled


def _tile(images: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    columns = int(np.ceil(np.sqrt(len(images))))
    height, width = images[0].shape
    sheet = np.zeros((-(-len(images) // columns) * height, columns * width), dtype=np.float32)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = image
    return sheet


def _as_picture(image: NDArray[Any], size: int) -> NDArray[np.float32]:
    return np.ascontiguousarray(shrink(image.astype(np.float32, copy=False), size), dtype=np.float32)


def _spread(count: int, most: int) -> list[int]:
    """All, or evenly spaced ones of many."""
    return list(range(count)) if count <= most else [index * count // most for index in range(most)]


def _note_sections(facts: dict[str, str], indices: list[int], count: int) -> None:
    if len(indices) < count:
        facts["statistics of"] = f"{len(indices)} evenly spaced images of {count}"


def _with_unit(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.6g} {unit}"


def _format_size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in reversed(shape))
