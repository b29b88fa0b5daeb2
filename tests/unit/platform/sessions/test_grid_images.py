"""Pictures of atlases and squares become items; those that cannot be read stop nothing."""

from pathlib import Path

import pytest
from PIL import Image

from magellon.platform.sessions.grid_images import find_grid_images
from magellon.platform.sessions.importing import import_session
from magellon.platform.sessions.places import Place, Tile
from magellon.platform.sessions.tree import HeaderCache


def picture(path: Path, width: int = 64) -> Path:
    Image.new("L", (width, 32)).save(path)
    return path


def test_atlas_and_squares_with_pictures_are_found(tmp_path: Path) -> None:
    places = [
        Place(kind="square", name="square 1-A", parent="Atlas", x=1, y=2, z=3, image=picture(tmp_path / "s.png"),
              pixel_size=100, image_shape=(128, 256)),
        Place(kind="square", name="square 1/A", image=picture(tmp_path / "t.png")),
        Place(kind="square", name="never looked at"),
        Place(kind="hole", name="h", image=picture(tmp_path / "h.png")),
        Place(kind="atlas", name="Atlas", image=picture(tmp_path / "a.jpg")),
    ]  # fmt: skip
    found, problems = find_grid_images(places, HeaderCache())
    assert problems == []
    assert [(each.kind, each.name, each.place) for each in found] == [
        ("atlas", "atlas/Atlas", "Atlas"),
        ("square", "square/square_1-A", "square 1-A"),
        ("square", "square/square_1_A", "square 1/A"),
    ]
    square = found[1].image
    assert (square.pixel_size, square.stage, square.stage_z) == (400.0, (1.0, 2.0), 3.0), "the copy has a quarter of the pixels"
    assert found[2].image.pixel_size is None


def test_an_atlas_that_nobody_put_together_is_its_tiles(tmp_path: Path) -> None:
    tiles = tuple(Tile(name=f"t{n}", x=n, y=0, image=picture(tmp_path / f"t{n}.png")) for n in range(2))
    found, _ = find_grid_images([Place(kind="atlas", name="atlas", tiles=(*tiles, Tile(name="lost")))], HeaderCache())
    assert [(each.name, each.image.stage) for each in found] == [("atlas/t0", (0, 0)), ("atlas/t1", (1, 0))]


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"broken")
    places = [
        Place(kind="atlas", name="a", image=tmp_path / "a.png"),
        Place(kind="square", name="s", image=tmp_path / "no.png"),
    ]
    found, problems = find_grid_images(places, HeaderCache())
    assert found == []
    assert len(problems) == 2
    assert "a.png" in problems[0]
    assert "no.png" in problems[1]


@pytest.mark.parametrize("version", ["3.9.1"])
def test_the_squares_of_a_real_session_have_their_scale(real_data: Path, version: str) -> None:
    found = import_session(real_data / "epu" / version, live=True)
    squares = [each for each in found.images if each.kind == "square"]
    assert {each.image.name for each in squares} == {"GridSquare_8999138", "GridSquare_8999186"}
    for each in squares:
        with Image.open(each.image.path) as image:
            assert each.image.pixel_size is not None
            field = each.image.pixel_size * image.width / 1e4
        assert 20 < field < 200, "µm: a square of a grid with its bars"
        assert each.image.stage is not None
