"""cryoSPARC's tables: `.cs`, rows with named fields in NumPy's format, and `.csg`, which names the files of a group.

A field is `slot/name`, as `ctf/df1_A`; `uid` alone has no slot. Nothing is unpickled.
"""

import ast
import datetime
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml
from numpy.typing import NDArray

from magellon.errors import BadInput
from magellon.io.files import reading, replacing

Rows = NDArray[np.void]
"""One-dimensional, with named fields."""

_MOST_HEADER_BYTES = 1 << 20
_NUMPY_MAGIC = b"\x93NUMPY"
_COMPRESSED_MAGIC = b"\x94CSDAT"
_CREATED, _VERSION = datetime.date(2000, 1, 1), "v4.0.0"
_HERE = ">"
"""Before a path: relative to the folder of the file that holds it."""


def read_cs(path: Path | str) -> Rows:
    """Read a `.cs` file.

    Raises:
        BadInput: no such file, not a table, truncated, compressed (which cryoSPARC writes only for itself), or it would have
            to be unpickled.
    """
    with reading(path), open(path, "rb") as file:
        magic = file.read(len(_NUMPY_MAGIC))
        if magic == _COMPRESSED_MAGIC:
            raise BadInput(f"{path}: is in cryoSPARC's compressed form; export it as a group from cryoSPARC")
        if magic != _NUMPY_MAGIC:
            raise BadInput(f"{path}: not a .cs file: it begins with {magic!r}, not {_NUMPY_MAGIC!r}")
        count, kind = _read_header(file, path)
        left = os.fstat(file.fileno()).st_size - file.tell()
        if count * kind.itemsize != left:
            raise BadInput(
                f"{path}: {left} bytes follow its header, which announces {count} rows of {kind.itemsize}: truncated?"
            )
        return np.fromfile(file, dtype=kind, count=count)


def _read_header(file: BinaryIO, path: Path | str) -> tuple[int, np.dtype[np.void]]:
    """Number and type of the rows. NumPy's own reader raises too many kinds of error for damaged headers."""
    try:
        width = {1: "<H", 2: "<I", 3: "<I"}[file.read(2)[0]]
        (size,) = struct.unpack(width, file.read(struct.calcsize(width)))
        if size > _MOST_HEADER_BYTES:
            raise ValueError(f"a header of {size} bytes")
        header = ast.literal_eval(file.read(size).decode())
        kind = np.lib.format.descr_to_dtype(header["descr"])
        shape = header["shape"]
    except (
        KeyError,
        IndexError,
        ValueError,
        TypeError,
        SyntaxError,
        AttributeError,
        RecursionError,
        MemoryError,
        struct.error,
    ) as error:
        raise BadInput(f"{path}: its header is damaged: {error}") from error
    if kind.hasobject or not kind.names or not kind.itemsize or kind.subdtype:
        raise BadInput(f"{path}: not a .cs file: it holds {str(kind)[:60]}, not plain rows with named fields")
    if not (isinstance(shape, tuple) and len(shape) == 1 and type(shape[0]) is int and shape[0] >= 0):
        raise BadInput(f"{path}: not a .cs file: its shape is {shape!r}, not a number of rows")
    return shape[0], kind


def write_cs(path: Path | str, rows: Rows) -> None:
    """Write a `.cs` file: little-endian, without anything pickled.

    Raises:
        ValueError: no named fields, a field of Python objects, or two rows with one `uid`.
        Transient: the disk is full.
    """
    if rows.dtype.names is None or rows.ndim != 1:
        raise ValueError(f"a .cs file holds one row after another with named fields, not {rows.dtype} of shape {rows.shape}")
    if rows.dtype.hasobject:
        raise ValueError("a .cs file holds no Python objects")
    if "uid" in rows.dtype.names and len(np.unique(rows["uid"])) != len(rows):
        raise ValueError("two rows of a .cs file have the same uid")
    with replacing(path) as temporary, open(temporary, "wb") as file:
        np.save(file, rows, allow_pickle=False)


def find_slots(rows: Rows) -> list[str]:
    """The slots of a table in the order of its fields: `blob`, `ctf`, `location` ..."""
    names = rows.dtype.names or ()
    return list(dict.fromkeys(name.partition("/")[0] for name in names if "/" in name))


def read_texts(rows: Rows, field: str) -> list[str]:
    """A field of texts; paths lose the mark that they are relative."""
    return [value.decode("utf-8", "replace").removeprefix(_HERE) for value in rows[field].tolist()]


@dataclass(frozen=True)
class CsResult:
    """One slot of a group."""

    file: str
    """Name of its `.cs` file, relative to the `.csg`."""
    kind: str
    """Such as `particle.ctf`."""
    rows: int


@dataclass(frozen=True)
class CsGroup:
    """What a `.csg` file says."""

    name: str
    kind: str
    """`particle` or `exposure`, among others."""
    results: Mapping[str, CsResult]
    """By slot."""
    title: str = ""
    description: str = ""


def read_csg(path: Path | str) -> CsGroup:
    """Read a `.csg` file.

    Raises:
        BadInput: no such file, or not a group.
    """
    with reading(path), open(path, "rb") as file:
        raw = file.read()
    try:
        content = yaml.safe_load(raw)
        group = content["group"]
        results = {
            str(slot): CsResult(str(each["metafile"]).removeprefix(_HERE), str(each["type"]), int(each["num_items"]))
            for slot, each in content["results"].items()
        }
        return CsGroup(
            str(group["name"]), str(group["type"]), results, str(group.get("title", "")), str(group.get("description", ""))
        )
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{path}: not a .csg file: {type(error).__name__}: {error}") from error


def write_csg(path: Path | str, group: CsGroup) -> None:
    """Write a `.csg` file, the same for the same group: `created` is a fixed date, and `version` that of the format."""
    content: dict[str, Any] = {
        "created": _CREATED,
        "version": _VERSION,
        "group": {"description": group.description, "name": group.name, "title": group.title, "type": group.kind},
        "results": {
            slot: {"metafile": f"{_HERE}{result.file}", "num_items": result.rows, "type": result.kind}
            for slot, result in group.results.items()
        },
    }
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(content, sort_keys=True, allow_unicode=True), encoding="utf-8")


def make_group(name: str, kind: str, title: str, file: str, rows: Rows) -> CsGroup:
    """The group of one table, all its slots in one file."""
    results = {slot: CsResult(file, f"{kind}.{slot}", len(rows)) for slot in find_slots(rows)}
    return CsGroup(name, kind, results, title)
