"""Metadata files come from elsewhere: nothing in them may make a reader hang, grow or open another file."""

import time
from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.io.metadata_files import name_file, parse_number, read_text, read_xml

ENTITIES = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "{}">{}]><a>&z;</a>"""


def bomb() -> str:
    levels = "".join(f'<!ENTITY {new} "{f"&{old};" * 10}">' for old, new in zip("bcdefghij", "cdefghijz", strict=True))
    return ENTITIES.format("x" * 1000, levels)


@pytest.mark.parametrize(
    "content",
    [
        bomb().encode(),
        bomb().encode("utf-16"),
        b'<!DOCTYPE a [<!ENTITY z SYSTEM "file:///etc/passwd">]><a>&z;</a>',
        b'<!DOCTYPE a SYSTEM "http://127.0.0.1/a.dtd"><a/>',
    ],
)
def test_document_types_are_refused_at_once(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(content)
    begun = time.monotonic()
    with pytest.raises(BadInput, match="document type"):
        read_xml(path, "a")
    assert time.monotonic() - begun < 1


def test_another_encoding_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    text = '<?xml version="1.0" encoding="cp037"?>' + bomb().partition("?>")[2]
    path.write_bytes(text.encode("cp037"))
    with pytest.raises(BadInput):
        read_xml(path, "a")


@pytest.mark.parametrize("content", [b"", b"\0\0\0\0", b"  \n", b"<a>", b"<a><b></a>", b"\xff\xfe", b"not xml", b"<a>\xff</a>"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.xml"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"a\.xml"):
        read_xml(path, "a")


def test_references_are_followed(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    schema = 'xmlns:z="http://schemas.microsoft.com/2003/10/Serialization/" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"'
    path.write_text(f'<a {schema}><b z:Id="1">folder</b><c z:Ref="1" i:nil="true"/><d i:nil="true"/><e>2.5</e></a>')
    root = read_xml(path, "a")
    assert (root.text("b"), root.text("c"), root.text("d"), root.number("e")) == ("folder", "folder", None, 2.5)
    assert root.find("b", "x") is None


def test_text_of_windows_is_read_and_binary_data_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.mdoc"
    path.write_bytes("Note = 5 µm".encode("cp1252"))
    assert read_text(path) == "Note = 5 µm"
    path.write_bytes(b"a\0b")
    with pytest.raises(BadInput, match="binary"):
        read_text(path)


def test_names_and_numbers() -> None:
    assert name_file(r"X:\data\a b.tif") == "a b.tif"
    assert name_file("/data/a.tif") == "a.tif"
    assert name_file(None) is None
    assert [parse_number(text) for text in ("1e-3", "inf", "nan", "", None)] == [0.001, None, None, None, None]
