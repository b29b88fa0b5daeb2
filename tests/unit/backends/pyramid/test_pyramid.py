"""Tiles join to the whole micrograph at every scale."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magellon.backends.pyramid.backend import Pyramid, PyramidParams, count_levels, halve
from magellon.contracts import BadInput, Context, Micrograph
from magellon.contracts.preview import PreviewInput
from magellon.io.mrc import write_mrc
from magellon.io.picture import contrast
from magellon.testing.backend import check_backend


def _write(path: Path, shape: tuple[int, int]) -> PreviewInput:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    image = (np.sin(rows / 37) + np.cos(columns / 23)).astype(np.float32)
    write_mrc(path, image, 1.0)
    return PreviewInput(micrograph=Micrograph(name="a", path=path, pixel_size=1.0, shape=shape))


def test_tiles_join_to_the_micrograph(tmp_path: Path) -> None:
    input = _write(tmp_path / "a.mrc", (300, 517))
    workdir = tmp_path / "work"
    workdir.mkdir()
    made = Pyramid().run(input, PyramidParams(tile_size=128, quality=95), Context(workdir))
    assert (made.width, made.height, made.levels) == (517, 300, 4)
    rows, columns = np.mgrid[:300, :517]
    image = (np.sin(rows / 37) + np.cos(columns / 23)).astype(np.float32)
    for level in reversed(range(made.levels)):
        shown = contrast(image)
        joined = np.zeros_like(shown)
        for path in (made.tiles / str(level)).iterdir():
            x, y = map(int, path.stem.split("_"))
            tile = np.asarray(Image.open(path))
            joined[y * 128 : y * 128 + tile.shape[0], x * 128 : x * 128 + tile.shape[1]] = tile
        assert np.abs(joined.astype(int) - shown).mean() < 2, "of 255: what JPEG loses"
        image = halve(image)
    assert [path.name for path in (made.tiles / "0").iterdir()] == ["0_0.jpg"]


@pytest.mark.parametrize(("shape", "levels"), [((100, 128), 1), ((129, 10), 2), ((4096, 4096), 6), ((5760, 4092), 7)])
def test_the_first_level_is_one_tile(shape: tuple[int, int], levels: int) -> None:
    assert count_levels(shape, 128) == levels


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    check_backend(Pyramid, _write(tmp_path / "a.mrc", (200, 300)))


def test_a_stack_is_refused(tmp_path: Path) -> None:
    write_mrc(tmp_path / "s.mrc", np.zeros((3, 8, 8), dtype=np.float32), 1.0)
    input = PreviewInput(micrograph=Micrograph(name="s", path=tmp_path / "s.mrc", pixel_size=1.0, shape=(8, 8)))
    with pytest.raises(BadInput, match="shape"):
        Pyramid().run(input, PyramidParams(), Context(tmp_path))
