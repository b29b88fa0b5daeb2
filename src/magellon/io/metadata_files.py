"""Reading the small files that microscope software leaves beside movies: bounded, and without what makes XML dangerous.

Loads no numpy.
"""

import codecs
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from magellon.errors import BadInput
from magellon.io.files import reading

MAX_BYTES = 256 << 20
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_REFERENCE = "{http://schemas.microsoft.com/2003/10/Serialization/}Ref"
_NUMBER = "{http://schemas.microsoft.com/2003/10/Serialization/}Id"


def read_bytes(path: Path | str) -> bytes:
    """The whole file.

    Raises:
        BadInput: not readable, empty, or larger than metadata ever is.
        Transient: the filesystem failed.
    """
    with reading(path), open(path, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise BadInput(f"{path}: larger than {MAX_BYTES >> 20} MB, which no metadata file is")
    if not data.strip(b"\0 \r\n\t"):
        raise BadInput(f"{path}: empty")
    return data


def read_text(path: Path | str) -> str:
    """The whole file as text: UTF-8, or what Windows programs write.

    Raises:
        BadInput: as `read_bytes`, or the file holds binary data.
    """
    data = read_bytes(path)
    if b"\0" in data:
        raise BadInput(f"{path}: holds binary data where text was expected")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


class Node:
    """An XML element by local names: the namespaces say which class of the microscope's program wrote it, and change."""

    __slots__ = ("_numbered", "element")

    def __init__(self, element: ElementTree.Element, numbered: dict[str, ElementTree.Element]) -> None:
        self.element = element
        self._numbered = numbered

    @property
    def name(self) -> str:
        return self.element.tag.rpartition("}")[2]

    def children(self, name: str | None = None) -> Iterator["Node"]:
        """Elements directly below, all or those of a name; a name that ends in `*` stands for all that start so."""
        for child in self.element:
            tag = child.tag.rpartition("}")[2]
            if name is None or tag == name or (name.endswith("*") and tag.startswith(name[:-1])):
                yield Node(self._resolve(child), self._numbered)

    def find(self, *names: str) -> "Node | None":
        """The element at a path of names below this one; None when a part of it is missing or nil."""
        element = self.element
        for name in names:
            for child in element:
                if child.tag.rpartition("}")[2] == name:
                    element = self._resolve(child)
                    break
            else:
                return None
        return None if element.get(_NIL) == "true" else Node(element, self._numbered)

    def text(self, *names: str) -> str | None:
        """The text at a path; None when there is none."""
        node = self.find(*names)
        text = (node.element.text or "").strip() if node else ""
        return text or None

    def number(self, *names: str) -> float | None:
        """The finite number at a path; None when there is none."""
        return parse_number(self.text(*names))

    def _resolve(self, element: ElementTree.Element) -> ElementTree.Element:
        """What is written once and referred to elsewhere (.NET's `z:Ref`)."""
        reference = element.get(_REFERENCE)
        return element if reference is None else self._numbered.get(reference, element)


def read_xml(path: Path | str, root: str) -> Node:
    """The root element of an XML file.

    A file with a document type declaration is refused: entities, with which a small file can grow without limit or name other
    files, can only be declared there.

    Args:
        root: local name that the root element must have.

    Raises:
        BadInput: as `read_bytes`; damaged; with a document type; or its root has another name.
    """
    data = read_bytes(path)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = data.decode("utf-16", "replace").encode()
    if b"<!DOCTYPE" in data:
        raise BadInput(f"{path}: holds a document type declaration, which microscope metadata never do")
    # An encoding given here overrules the file's own, so that the search above sees what is parsed.
    parser = ElementTree.XMLParser(encoding="utf-8")  # noqa: S314
    try:
        element = ElementTree.fromstring(data, parser)  # noqa: S314
    except (ElementTree.ParseError, ValueError) as error:
        raise BadInput(f"{path}: damaged XML: {error}") from error
    numbered = {number: each for each in element.iter() if (number := each.get(_NUMBER)) is not None}
    node = Node(element, numbered)
    if node.name != root:
        raise BadInput(f"{path}: is <{node.name}>, not <{root}>")
    return node


def parse_number(text: str | None) -> float | None:
    """A finite number; None for anything else."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None


def name_file(path: str | None) -> str | None:
    """The file name of a path as Windows or Unix writes it."""
    return (PureWindowsPath(path).name or None) if path else None
