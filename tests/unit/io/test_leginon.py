"""Exports of Leginon sessions: a real one, and damaged ones."""

import json
from collections import Counter
from pathlib import Path

import pytest

from magellon.errors import BadInput
from magellon.io.leginon import read_leginon_session


def test_a_real_export(real_data: Path) -> None:
    session = read_leginon_session(real_data / "leginon" / "session.json")
    assert (session.name, session.project) == ("24DEC03A", "Leginon")
    kinds = Counter(image.kind for image in session.images)
    assert kinds == {"atlas": 43, "square": 10, "hole": 19, "exposure": 218, "focus": 17}
    images = {image.name: image for image in session.images}
    tile = images["24dec03a_00014gr"]
    assert tile.stage[:2] == pytest.approx((282.0662, 269.9543))  # the file's metres as µm
    assert (tile.pixel_size, tile.voltage, tile.spherical_aberration) == (340, 300, 2.7)
    exposure = images["24dec03a_00031gr_00001sq_v01_00004hl_00002ex"]
    assert exposure.parent == "24dec03a_00031gr_00001sq_v01_00004hl"
    assert (exposure.applied_defocus, exposure.exposure) == (19900, 60.26107013)
    assert (exposure.pixel_size, exposure.tilt) == (None, pytest.approx(-0.0045, abs=1e-5))
    assert all(image.parent in images for image in session.images if image.kind != "atlas")


def write(path: Path, images: object) -> Path:
    path.write_text(json.dumps({"msession": {"name": "s"}, "images": images}))
    return path


def test_depth_tells_the_kind_where_names_do_not(tmp_path: Path) -> None:
    nested = [{"name": "a", "children": [{"name": "b", "children": [{"name": "c", "children": [{"name": "d"}]}]}]}]
    images = read_leginon_session(write(tmp_path / "session.json", nested)).images
    assert [image.kind for image in images] == ["atlas", "square", "hole", "exposure"]
    assert [image.parent for image in images] == [None, "a", "b", "c"]


def test_exposures_per_square_metre_are_converted(tmp_path: Path) -> None:
    images = read_leginon_session(write(tmp_path / "session.json", [{"name": "x_00001ex", "dose": "4.5e21"}])).images
    assert images[0].exposure == pytest.approx(45)


def deep(levels: int) -> list[object]:
    images: list[object] = []
    for _ in range(levels):
        images = [{"name": "a", "children": images}]
    return images


@pytest.mark.parametrize("images", [None, [{"name": ""}], [{}], ["a"], deep(40)])
def test_damaged_exports_are_refused(tmp_path: Path, images: object) -> None:
    with pytest.raises(BadInput, match=r"session\.json"):
        read_leginon_session(write(tmp_path / "session.json", images))


def test_damaged_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "session.json").write_text("[" * 100_000)
    with pytest.raises(BadInput, match="damaged JSON"):
        read_leginon_session(tmp_path / "session.json")
