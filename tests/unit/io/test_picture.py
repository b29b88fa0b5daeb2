"""Pictures, descriptions and box files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from magellon.errors import BadInput
from magellon.io.box import read_box, write_box
from magellon.io.describe import describe_file
from magellon.io.eer_encoder import write_eer
from magellon.io.mrc import write_mrc
from magellon.io.picture import contrast, shrink, write_png
from magellon.io.star import write_star
from magellon.io.tiff_movie import write_tiff_movie

RNG = np.random.default_rng(4)


def test_contrast_spans_the_percentiles() -> None:
    image = np.linspace(0, 1000, 1001, dtype=np.float32).reshape(7, 143)
    shown = contrast(image)
    assert (shown.min(), shown.max()) == (0, 255)
    assert (shown[image <= 5] == 0).all()
    assert (shown[image >= 995] == 255).all()
    assert np.abs(shown.ravel()[500] - 127.5) < 1.5


def test_contrast_of_odd_images() -> None:
    assert contrast(np.full((4, 4), 7.0)).tolist() == np.full((4, 4), 128).tolist()
    image = RNG.normal(size=(20, 20))
    image[0, 0], image[0, 1] = np.nan, np.inf
    shown = contrast(image)
    assert shown[0, 0] == 0
    assert (contrast(np.full((3, 3), np.nan)) == 0).all()


def test_shrink_averages_blocks() -> None:
    image = RNG.normal(size=(11, 8)).astype(np.float32)
    small = shrink(image, 4)
    assert small.shape == (3, 2)
    assert small[1, 1] == pytest.approx(image[3:6, 3:6].mean(), rel=1e-6)
    assert shrink(image, 11) is image


def read_png(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_png(tmp_path: Path) -> None:
    grey = RNG.integers(0, 256, (5, 7), dtype=np.uint8)
    write_png(tmp_path / "a.png", grey)
    np.testing.assert_array_equal(read_png(tmp_path / "a.png"), grey)
    colours = RNG.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_png(tmp_path / "c.png", colours)
    np.testing.assert_array_equal(read_png(tmp_path / "c.png"), colours)
    image = RNG.normal(size=(300, 200))
    write_png(tmp_path / "b.png", image, max_size=100)
    assert read_png(tmp_path / "b.png").shape == (100, 66)
    write_png(tmp_path / "b2.png", image, max_size=100)
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "b2.png").read_bytes()
    with pytest.raises(ValueError, match="shape"):
        write_png(tmp_path / "d.png", np.zeros((2, 3, 4)))


def test_describe_images_stacks_and_movies(tmp_path: Path) -> None:
    image = RNG.normal(5, 2, (300, 200)).astype(np.float32)
    write_mrc(tmp_path / "a.mrc", image, 1.2)
    found = describe_file(tmp_path / "a.mrc", size=100)
    assert found.kind == "MRC image"
    assert found.facts["size"] == "200 x 300 x 1"
    assert found.facts["pixel size"] == "1.2 Å"
    assert found.statistics["mean"] == pytest.approx(image.mean(), rel=1e-5)
    assert found.statistics["standard deviation"] == pytest.approx(image.std(), rel=1e-5)
    assert found.picture is not None
    assert found.picture.shape == (100, 66)

    boxes = RNG.normal(size=(50, 16, 16)).astype(np.float32)
    boxes[0, 0, 0] = np.nan
    write_mrc(tmp_path / "a.mrcs", boxes, 1.2)
    found = describe_file(tmp_path / "a.mrcs")
    assert found.kind == "MRC stack of 50 images"
    assert found.statistics["not finite"] == 1
    assert found.picture is not None
    assert found.picture.shape == (96, 96)

    frames = RNG.poisson(1, (3, 600, 520)).astype(np.uint8)
    write_tiff_movie(tmp_path / "a.tif", frames, 0.9)
    found = describe_file(tmp_path / "a.tif")
    assert found.kind == "TIFF movie of 3 frames"
    assert found.statistics["mean"] == pytest.approx(frames.mean())
    np.testing.assert_array_equal(found.picture, frames.sum(axis=0))

    write_eer(tmp_path / "a.eer", [np.array([[0, 0], [8, 8]])] * 3, (16, 16), pixel_size=0.9)
    found = describe_file(tmp_path / "a.eer")
    assert found.kind == "EER movie of 3 raw frames"
    assert found.statistics["maximum"] == 3


def test_describe_star_and_unknown_files(tmp_path: Path) -> None:
    write_star(tmp_path / "a.star", {"optics": {"a": [1]}, "particles": {"b": [1, 2], "c": [3, 4]}})
    found = describe_file(tmp_path / "a.star")
    assert found.facts == {"data_optics": "1 rows of 1 columns: a", "data_particles": "2 rows of 2 columns: b, c"}
    assert found.picture is None
    with pytest.raises(BadInput, match="format not supported"):
        describe_file(tmp_path / "a.xyz")


def test_describe_real_micrograph(real_data: Path) -> None:
    facts = describe_file(real_data / "grids" / "pyami_test1.mrc").facts
    assert facts["stamp"].startswith("none")


def test_box_files(tmp_path: Path) -> None:
    path = tmp_path / "a.box"
    write_box(path, [(100, 200), (31.6, 5.2)], 64)
    assert path.read_text() == "68\t168\t64\t64\n0\t-27\t64\t64\n"
    assert read_box(path) == [(100, 200), (32, 5)]
    path.write_text("1 2 3\n")
    with pytest.raises(BadInput, match="line 1"):
        read_box(path)
