"""Header, statistics and picture of a file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from magellon.cli import app
from magellon.errors import BadInput
from magellon.io.cryosparc import make_group, write_cs, write_csg
from magellon.io.mrc import write_mrc
from magellon.io.star import write_star


@pytest.fixture
def micrograph(tmp_path: Path) -> Path:
    write_mrc(tmp_path / "a.mrc", np.arange(64 * 32, dtype=np.float32).reshape(64, 32), 1.25)
    return tmp_path / "a.mrc"


def test_says_header_and_statistics(micrograph: Path) -> None:
    result = CliRunner().invoke(app, ["show", str(micrograph)])
    assert result.exit_code == 0
    assert "32 x 64 x 1" in result.stdout
    assert "1.25 Å" in result.stdout
    assert "1023.5" in result.stdout


def test_writes_the_picture(micrograph: Path) -> None:
    png = micrograph.parent / "a_picture.png"
    assert CliRunner().invoke(app, ["show", str(micrograph), "--png", str(png)]).exit_code == 0
    with Image.open(png) as picture:
        assert picture.size == (32, 64)


def test_several_pictures_need_a_folder(micrograph: Path) -> None:
    result = CliRunner().invoke(app, ["show", str(micrograph), str(micrograph), "--png", "one.png"])
    assert isinstance(result.exception, BadInput)


def test_a_star_file_has_no_picture(tmp_path: Path) -> None:
    write_star(tmp_path / "a.star", {"optics": {"rlnVoltage": [300.0]}})
    assert "1 rows of 1 columns" in CliRunner().invoke(app, ["show", str(tmp_path / "a.star")]).stdout
    result = CliRunner().invoke(app, ["show", str(tmp_path / "a.star"), "--png", str(tmp_path / "a.png")])
    assert "no pixels" in str(result.exception)


def test_a_missing_file_is_named() -> None:
    assert "nothing.mrc does not exist" in str(CliRunner().invoke(app, ["show", "nothing.mrc"]).exception)


def test_cryosparc_files(tmp_path: Path) -> None:
    names = [("uid", "<u8"), ("blob/path", "S9"), ("blob/idx", "<u4"), ("blob/sign", "<f4"), ("ctf/df1_A", "<f4")]
    rows = np.zeros(3, dtype=names)
    rows["uid"], rows["blob/path"], rows["blob/sign"] = [1, 2, 3], b">a.mrcs", -1
    write_cs(tmp_path / "a.cs", rows)
    write_csg(tmp_path / "a.csg", make_group("particles", "particle", "All", "a.cs", rows))
    said = CliRunner().invoke(app, ["show", str(tmp_path / "a.cs"), str(tmp_path / "a.csg")]).stdout
    for words in ("table of 3 rows", "path, idx, sign", "df1_A", "0 of a.mrcs", "dark", "particle.ctf in a.cs"):
        assert words in said
