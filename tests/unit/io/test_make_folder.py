"""Folders that can and cannot be made."""

from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.io.files import make_folder, require_writable


def test_a_folder_is_made_with_those_above_it_and_may_be_there(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_file_in_its_place_or_above_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_text("kept")
    with pytest.raises(BadInput, match=r"out: is a file, where a folder is wanted"):
        make_folder(file)
    with pytest.raises(BadInput, match=r"out/deeper: no folder can be made here"):
        make_folder(file / "deeper")
    assert file.read_text() == "kept"


def test_whether_a_file_can_be_written_is_tried_and_nothing_stays(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "net.onnx")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(BadInput, match=r"new: is a folder, where a file is wanted"):
        require_writable(tmp_path / "new")
    with pytest.raises(BadInput, match=r"/proc/net\.onnx: cannot be written"):
        require_writable(Path("/proc/net.onnx"))
