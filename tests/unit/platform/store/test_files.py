"""Files and links appear whole."""

import os
from pathlib import Path

import pytest

from magellon.platform.store.files import link_atomically, write_atomically


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"old", mode=0o600)
    with pytest.raises(TypeError):
        write_atomically(path, "text")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_links_are_relative_inside_the_home_and_replaced(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first, second = home / "results/aa/1/x.mrc", home / "results/bb/2/x.mrc"
    for number, target in enumerate((first, second)):
        target.parent.mkdir(parents=True)
        target.write_text(str(number))
    link = home / "sessions/lot/step/x.mrc"
    link_atomically(link, first, home)
    assert os.readlink(link) == "../../../results/aa/1/x.mrc"
    link_atomically(link, second, home)
    assert link.read_text() == "1"
    link_atomically(link, tmp_path / "outside", home)
    assert os.readlink(link) == str(tmp_path / "outside")
    assert os.listdir(link.parent) == ["x.mrc"]
