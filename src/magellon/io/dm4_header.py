"""The tags of a DigitalMicrograph 3 or 4 file: where its image lies and how large it is, read without numpy.

A file is a tree of named tags; the image is the largest one under `ImageList`. Source: the format is not published; Chris
Boothroyd's and Bernhard Schaffer's descriptions of it.
"""

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from magellon.errors import BadInput
from magellon.io.files import reading

_GROUP, _DATA = 20, 21
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_SIMPLE = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "B", 9: "b", 10: "B", 11: "q", 12: "Q"}
_PIXELS = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8"}
_MAX_DEPTH = 32
_MAX_TAGS = 200_000


@dataclass(frozen=True)
class Dm4Image:
    """The image of a file."""

    width: int
    height: int
    offset: int
    """Bytes before the first pixel."""
    code: str
    """Type of a pixel as numpy writes it, with the byte order."""


@dataclass
class _Array:
    """Where an array lies in the file."""

    offset: int
    item_bytes: int
    count: int


Tree = dict[str, Any]


def read_dm4_header(path: Path | str) -> Dm4Image:
    """Find the image of a .dm4 or .dm3 file.

    Raises:
        BadInput: not a DigitalMicrograph file, damaged, truncated, or without an image of real numbers.
    """
    with reading(path), open(path, "rb") as file:
        try:
            raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except ValueError as error:
            raise BadInput(f"{path}: empty") from error
        with raw:
            return find_dm4_image(raw, path)


def find_dm4_image(raw: bytes | mmap.mmap, path: Path | str) -> Dm4Image:
    """The same in a file's bytes."""
    try:
        reader = _Reader(raw)
        images = reader.read_tree().get("ImageList", {})
    except (struct.error, UnicodeDecodeError, _DamagedError) as error:
        raise BadInput(f"{path}: not a DigitalMicrograph file, or damaged: {error}") from error
    found = [image for image in (_find_image(entry) for entry in images.values()) if image is not None]
    if not found:
        raise BadInput(f"{path}: holds no two-dimensional image of real numbers")
    array, (width, height), code = max(found, key=lambda image: image[1][0] * image[1][1])
    end = array.offset + width * height * int(code[1:])
    if end > len(raw):
        raise BadInput(f"{path}: truncated: {len(raw)} bytes found, at least {end} expected")
    return Dm4Image(width, height, array.offset, reader.order + code)


def _find_image(entry: Any) -> tuple[_Array, tuple[int, int], str] | None:
    data = entry.get("ImageData") if isinstance(entry, dict) else None
    if not isinstance(data, dict):
        return None
    array, kind, dimensions = data.get("Data"), data.get("DataType"), data.get("Dimensions")
    if not isinstance(array, _Array) or not isinstance(dimensions, dict) or kind not in _PIXELS:
        return None
    sizes = [size for size in dimensions.values() if isinstance(size, int)]
    if len(sizes) < 2 or min(sizes) < 1 or any(size != 1 for size in sizes[2:]):
        return None
    width, height = sizes[:2]
    if array.count != width * height or array.item_bytes != int(_PIXELS[kind][1:]):
        return None
    return array, (width, height), _PIXELS[kind]


class _DamagedError(Exception):
    """The tag tree makes no sense."""


@dataclass
class _Reader:
    raw: bytes | mmap.mmap
    at: int = 0
    order: Literal["<", ">"] = "<"
    tags: int = field(default=0, init=False)

    def read_tree(self) -> Tree:
        version = self._integer("i")
        if version not in (3, 4):
            raise _DamagedError(f"version {version} is neither 3 nor 4")
        self.long = "q" if version == 4 else "i"
        self.sized = version == 4
        self._integer(self.long)
        self.order = "<" if self._integer("i") == 1 else ">"
        return self._group(0)

    def _integer(self, code: str) -> int:
        """A big-endian number of the tree itself."""
        value: int = struct.unpack_from(">" + code, self.raw, self.at)[0]
        self.at += struct.calcsize(">" + code)
        return value

    def _group(self, depth: int) -> Tree:
        if depth > _MAX_DEPTH:
            raise _DamagedError(f"tags nested deeper than {_MAX_DEPTH}")
        self.at += 2
        count = self._integer(self.long)
        tree: Tree = {}
        for index in range(count):
            self.tags += 1
            if self.tags > _MAX_TAGS:
                raise _DamagedError(f"more than {_MAX_TAGS} tags")
            kind, length = self._integer("B"), self._integer("H")
            name = self.raw[self.at : self.at + length].decode("latin-1") or str(index)
            self.at += length
            if self.sized:
                self._integer("q")
            if kind == _GROUP:
                tree[name] = self._group(depth + 1)
            elif kind == _DATA:
                tree[name] = self._value()
            else:
                raise _DamagedError(f"tag {name[:40]!r} is of kind {kind}")
        return tree

    def _value(self) -> Any:
        if self.raw[self.at : self.at + 4] != b"%%%%":
            raise _DamagedError(f"no tag data at byte {self.at}")
        self.at += 4
        count = self._integer(self.long)
        if not 0 < count <= 4096:
            raise _DamagedError(f"a tag with {count} type codes")
        codes = [self._integer(self.long) for _ in range(count)]
        kind = codes[0]
        if kind in _SIMPLE:
            value = struct.unpack_from(self.order + _SIMPLE[kind], self.raw, self.at)[0]
            self._skip(struct.calcsize(_SIMPLE[kind]))
            return value
        if kind == _STRUCT:
            self._skip(_struct_bytes(codes[1:]))
        elif kind == _STRING and count == 2:
            self._skip(codes[1])
        elif kind == _ARRAY and count >= 3:
            item = _struct_bytes(codes[2:-1]) if codes[1] == _STRUCT else struct.calcsize(_SIMPLE.get(codes[1], "0s"))
            array = _Array(self.at, item, codes[-1])
            self._skip(item * codes[-1])
            return array
        else:
            raise _DamagedError(f"a tag of type {kind}")
        return None

    def _skip(self, count: int) -> None:
        if count < 0 or self.at + count > len(self.raw):
            raise _DamagedError(f"truncated: {len(self.raw)} bytes found, at least {self.at + count} expected")
        self.at += count


def _struct_bytes(codes: list[int]) -> int:
    """Size of a structure: [name length, number of fields, (name length, type) of each]."""
    kinds = codes[3::2]
    if len(codes) < 2 or len(kinds) != codes[1] or any(kind not in _SIMPLE for kind in kinds):
        raise _DamagedError(f"a structure of type codes {codes[:8]}")
    return sum(struct.calcsize(_SIMPLE[kind]) for kind in kinds)
