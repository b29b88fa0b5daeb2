"""Squares and holes: files, targets, formats, bad input, and networks of the user."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from magellon.backends.ptolemy.holes import HoleDetection, HoleParams
from magellon.backends.ptolemy.squares import SquareDetection, SquareParams
from magellon.backends.ptolemy.stage import Placement
from magellon.contracts import BadInput, Context, GridImage, HoleInput, HoleOutput, SquareInput, SquareOutput
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.network import write_network
from magellon.io.serialem import read_navigator
from magellon.io.star import read_star
from magellon.simulation.grids import draw_hole_scene, render_holes
from magellon.testing import check_backend, make_example
from magellon.testing.examples import GRID_ANGLE, GRID_PITCH, GRID_SHARE, SIDE

STAGE = (100.0, -50.0)


def find_lattice_nodes() -> np.ndarray:
    turn = np.radians(GRID_ANGLE)
    i, j = (each.ravel() for each in np.meshgrid(np.arange(-6, 7), np.arange(-6, 7)))
    x = SIDE / 2 + GRID_PITCH * (i * np.cos(turn) - j * np.sin(turn))
    y = SIDE / 2 + GRID_PITCH * (i * np.sin(turn) + j * np.cos(turn))
    nodes = np.stack([x, y], axis=1)
    inner: np.ndarray = nodes[((nodes > 12) & (nodes < SIDE - 12)).all(1)]
    return inner


def run(category: str, image: GridImage, folder: Path, **params: object) -> HoleOutput | SquareOutput:
    folder.mkdir(exist_ok=True)
    context = Context(workdir=folder)
    if category == "hole_detection":
        return HoleDetection().run(HoleInput(image=image), HoleParams(**params), context)
    return SquareDetection().run(SquareInput(image=image), SquareParams(**params), context)


def read_found(output: HoleOutput | SquareOutput) -> list[dict]:
    holes = isinstance(output, HoleOutput)
    record = json.loads((output.holes if holes else output.squares).read_text())
    return record["holes" if holes else "squares"]


@pytest.mark.parametrize("backend", [HoleDetection, SquareDetection])
def test_the_example_is_found_the_same_way_each_time(backend: type, tmp_path: Path) -> None:
    category = backend.contract.category
    example = make_example(category, tmp_path / "in")
    output = check_backend(backend, example, workdir=tmp_path / "out")
    found = read_found(output)
    nodes = find_lattice_nodes()
    places = np.array([[each["x"], each["y"]] for each in found])
    nearest = np.array([np.hypot(*(places - node).T).min() for node in nodes])
    assert (nearest < 3).mean() > 0.95
    assert output.count == len(found) <= len(nodes) + 12
    assert [each["rank"] for each in found] == list(range(1, len(found) + 1))
    size = "radius" if category == "hole_detection" else "side"
    expected = GRID_SHARE[category] * GRID_PITCH / (2 if size == "radius" else 1)
    assert found[0][size] == pytest.approx(expected, rel=0.12)
    if category == "hole_detection":
        assert output.lattice_pitch == pytest.approx(GRID_PITCH, rel=0.02)
        assert output.lattice_angle == pytest.approx(GRID_ANGLE, abs=1)
    else:
        assert found[0]["angle"] == pytest.approx(GRID_ANGLE, abs=2)
        corners = np.array(found[0]["corners"])
        assert np.hypot(*(corners[1] - corners[0])) == pytest.approx(found[0]["side"], rel=0.01)
    [table] = read_star(output.star).values()
    assert table.rows == output.count
    items = read_navigator(output.targets)
    assert len(items) == output.good == sum(each["good"] for each in found)
    with Image.open(output.picture) as picture:
        assert min(picture.size) >= SIDE


def test_targets_carry_stage_positions_where_they_are_known(tmp_path: Path) -> None:
    image = make_example("hole_detection", tmp_path).image.model_copy(update={"stage": STAGE, "stage_z": 12.5})
    output = run("hole_detection", image, tmp_path / "a", most=5)
    item = read_navigator(output.targets)[0]
    hole = next(each for each in read_found(output) if each["good"])
    middle = (SIDE - 1) / 2
    assert item.stage == pytest.approx(
        (STAGE[0] + (hole["x"] - middle) * 2e-4, STAGE[1] - (hole["y"] - middle) * 2e-4, 12.5), abs=2e-3
    )
    assert len(read_navigator(output.targets)) == min(5, output.good)


def test_a_picture_may_be_turned_and_mirrored_on_the_stage() -> None:
    image = GridImage(name="a", path=Path("a.mrc"), pixel_size=2.0, stage=STAGE)
    place = Placement(image, 101, 201, SquareParams(stage_rotation=90.0, stage_mirror=True))
    assert place.locate(100, 50) == pytest.approx((*STAGE, 0.0))
    assert place.locate(130, 40) == pytest.approx((STAGE[0] + 10 * 2e-4, STAGE[1] + 30 * 2e-4, 0.0))
    assert Placement(GridImage(name="a", path=Path("a.mrc")), 5, 5, SquareParams()).locate(1, 1) is None


def test_targets_carry_places_in_the_picture_otherwise(tmp_path: Path) -> None:
    image = make_example("hole_detection", tmp_path).image
    output = run("hole_detection", image, tmp_path / "out", map_id=3)
    hole = next(each for each in read_found(output) if each["good"])
    items = read_navigator(output.targets)
    own = [each.fields["MapID"] for each in items]
    assert len(own) > 5
    assert "3" not in own, "that is the map's"
    assert len(set(own)) == len(own)
    item = items[0]
    assert item.drawn_on == "3"
    place = [float(value) for value in item.fields["CoordsInMap"].split()]
    assert place[:2] == pytest.approx([hole["x"] + 0.5, SIDE - 0.5 - hole["y"]], abs=0.01)


def write_picture(path: Path, image: np.ndarray) -> GridImage:
    if path.suffix == ".mrc":
        write_mrc(path, image, 1.0)
    else:
        Image.fromarray(image).save(path)
    return GridImage(name=path.stem, path=path)


@pytest.mark.parametrize("category", ["hole_detection", "square_detection"])
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64), np.float32),
        np.full((40, 300), 7, np.float32),
        np.ones((1, 1), np.float32),
        np.ones((2, 700), np.float32),
        np.random.default_rng(0).normal(0, 1, (90, 70)).astype(np.float32),
        np.linspace(0, 3e38, 64 * 64).reshape(64, 64).astype(np.float32),
        np.random.default_rng(0).choice(np.array([0.0, 1e-30], np.float32), (64, 64)),
    ],
    ids=["black", "flat", "one pixel", "line", "noise", "huge values", "tiny values"],
)
def test_odd_pictures_give_few_targets_and_no_error(category: str, image: np.ndarray, tmp_path: Path) -> None:
    output = run(category, write_picture(tmp_path / "odd.mrc", image), tmp_path / "out")
    assert output.count <= 6
    assert output.picture.exists()


def test_pictures_of_every_format_are_read(tmp_path: Path) -> None:
    grey = (np.indices((80, 90)).sum(0) % 200).astype(np.uint8)
    for name in ("a.png", "b.jpg", "c.tif"):
        run("square_detection", write_picture(tmp_path / name, grey), tmp_path / f"out-{name}")
    colours = np.stack([grey] * 3, axis=-1)
    for name in ("d.png", "e.tif"):
        run("square_detection", write_picture(tmp_path / name, colours), tmp_path / f"out-{name}")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_hide_only_what_lies_there(value: float, tmp_path: Path) -> None:
    example = make_example("hole_detection", tmp_path / "in")
    image = read_mrc(example.image.path)
    whole = run("hole_detection", example.image, tmp_path / "whole")
    image[: image.shape[0] // 4] = value
    found = run("hole_detection", write_picture(tmp_path / "odd.mrc", image), tmp_path / "out")
    assert 0.6 * whole.count <= found.count < whole.count
    with pytest.raises(BadInput, match=r"bad\.mrc: 1024 of 1024 pixels"):
        run("hole_detection", write_picture(tmp_path / "bad.mrc", np.full((32, 32), value, np.float32)), tmp_path / "bad")


@pytest.mark.parametrize("category", ["square_detection", "hole_detection"])
def test_hot_pixels_hardly_change_what_is_good(category: str, tmp_path: Path) -> None:
    image = make_example(category, tmp_path / "in").image
    pixels = read_mrc(image.path)
    spiked = pixels.copy()
    spiked[np.random.default_rng(4).random(pixels.shape) < 0.001] *= 1000
    write_mrc(tmp_path / "hot.mrc", spiked, image.pixel_size or 1.0)
    plain = run(category, image, tmp_path / "plain")
    hot = run(category, image.model_copy(update={"path": tmp_path / "hot.mrc"}), tmp_path / "hot")
    assert hot.count == plain.count
    assert abs(hot.good - plain.good) <= plain.count / 10, "without mending none is good"


def test_colours_of_16_bits_plane_by_plane_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "apart.tif"
    tifffile.imwrite(path, np.zeros((3, 64, 64), np.uint16), photometric="rgb", planarconfig="separate")
    with pytest.raises(BadInput, match=r"apart\.tif: colours of more than 8 bits"):
        run("square_detection", GridImage(name="apart", path=path), tmp_path / "out")


def test_files_that_are_no_picture_are_refused(tmp_path: Path) -> None:
    for name, data in (
        ("a.png", b"no picture"),
        ("b.jpg", b""),
        ("c.mrc", b"x" * 2000),
        ("d.tif", b"II*\0"),
        ("e.txt", b"hello"),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(BadInput, match=name):
            run("square_detection", GridImage(name="x", path=path), tmp_path / "out")
    with pytest.raises(BadInput, match="missing"):
        run("square_detection", GridImage(name="x", path=tmp_path / "missing.png"), tmp_path / "out")
    write_mrc(tmp_path / "pieces.mrc", np.zeros((3, 32, 32), np.float32), 1.0)
    with pytest.raises(BadInput, match="holds 3 pictures"):
        run("square_detection", GridImage(name="x", path=tmp_path / "pieces.mrc"), tmp_path / "out")


class Brightness(torch.nn.Module):
    """A classifier: the mean of the crop's middle."""

    def forward(self, crop: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(crop[:, :, 100:140, 100:140].mean(dim=(2, 3), keepdim=True))


class Bright(torch.nn.Module):
    """A segmenter: logits from brightness."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 40 * (image - 0.9)


def write_model(path: Path, module: torch.nn.Module, free: tuple[int, ...]) -> Path:
    write_network(path, module, torch.zeros(1, 1, 300, 300), {"image": (0, *free), "answer": (0, *free)})
    return path


def test_ptolemys_own_models_rank_and_find(tmp_path: Path) -> None:
    classifier = write_model(tmp_path / "classifier.onnx", Brightness(), (2, 3))
    segmenter = write_model(tmp_path / "segmenter.onnx", Bright(), (2, 3))
    image = make_example("hole_detection", tmp_path).image
    output = run("hole_detection", image, tmp_path / "holes", segmenter=segmenter, classifier=classifier)
    places = np.array([[each["x"], each["y"]] for each in read_found(output)])
    nearest = np.array([np.hypot(*(places - node).T).min() for node in find_lattice_nodes()])
    assert (nearest < 4).mean() > 0.9
    squares = run("square_detection", make_example("square_detection", tmp_path).image, tmp_path / "s", classifier=classifier)
    good = [each["good"] for each in read_found(squares)]
    assert len(good) > 10
    assert good == sorted(good, reverse=True)


def test_what_a_segmenter_finds_is_of_the_kinds_that_our_network_sees(tmp_path: Path) -> None:
    segmenter = write_model(tmp_path / "segmenter.onnx", Bright(), (2, 3))
    picture, _ = render_holes(draw_hole_scene(np.random.default_rng(5), (400, 400), diameter=(24, 30)))
    image = write_picture(tmp_path / "holes.mrc", picture.astype(np.float32))
    ours, theirs = (
        read_found(run("hole_detection", image, tmp_path / name, **params))
        for name, params in (("ours", {}), ("theirs", {"segmenter": segmenter}))
    )
    same = []
    for each in theirs:
        nearest = min(ours, key=lambda hole: float(np.hypot(hole["x"] - each["x"], hole["y"] - each["y"])))
        same.append(nearest["kind"] == each["kind"])
    assert len(same) > 50
    assert np.mean(same) > 0.9


def test_other_networks_are_refused(tmp_path: Path) -> None:
    image = make_example("hole_detection", tmp_path).image
    wrong = write_model(tmp_path / "wrong.onnx", Bright(), (2, 3))
    with pytest.raises(BadInput, match=r"wrong\.onnx: gives .* a classifier gives one number"):
        run("hole_detection", image, tmp_path / "a", classifier=wrong)
    small = write_model(tmp_path / "small.onnx", Brightness(), (2, 3))
    with pytest.raises(BadInput, match=r"small\.onnx: gives .* a segmenter gives a map"):
        run("hole_detection", image, tmp_path / "b", segmenter=small)
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"nothing")
    with pytest.raises(BadInput, match=r"junk\.onnx"):
        run("hole_detection", image, tmp_path / "c", segmenter=junk)
