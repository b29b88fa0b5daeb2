from pathlib import Path

import numpy as np
import pytest

from magellon.backends.template_picker.backend import TemplateParams, TemplatePicker
from magellon.contracts import BadInput, Context, Micrograph, PickingInput
from magellon.io.mrc import write_mrc
from magellon.io.star import read_star
from magellon.testing import check_backend


def make_bar(size: int, pixel_size: float, x: float, y: float, angle: float) -> np.ndarray:
    """A bar 160 Å long and 60 Å wide, counter-clockwise by `angle` from +x with row 0 on top."""
    rows, columns = np.mgrid[:size, :size]
    dx, dy = (columns - x) * pixel_size, (rows - y) * pixel_size
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return ((np.abs(c * dx - s * dy) < 80) & (np.abs(s * dx + c * dy) < 30)).astype(np.float32)


def make_input(folder: Path) -> tuple[PickingInput, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    points = np.array([[x, y] for x in range(60, 320, 80) for y in range(60, 320, 80)]) + rng.uniform(-8, 8, (16, 2))
    angles = rng.integers(0, 6, 16) * 30.0
    image = rng.normal(size=(384, 384)).astype(np.float32)
    for (x, y), angle in zip(points, angles, strict=True):
        image -= 1.0 * make_bar(384, 4.0, x, y, angle)
    write_mrc(folder / "m1.mrc", image, 4.0)
    write_mrc(folder / "bar.mrcs", make_bar(64, 5.0, 32, 32, 0)[None], 5.0)
    micrograph = Micrograph(name="m1", path=folder / "m1.mrc", pixel_size=4.0, shape=(384, 384))
    return PickingInput(micrograph=micrograph), points, angles


def test_keeps_to_the_rules_and_finds_places_and_angles(tmp_path: Path) -> None:
    example, points, angles = make_input(tmp_path)
    (tmp_path / "out").mkdir()
    params = TemplateParams(templates=tmp_path / "bar.mrcs", angle_step=30.0)
    output = check_backend(TemplatePicker, example, params, workdir=tmp_path / "out")
    assert output.picks.diameter == pytest.approx(170, rel=0.1)
    table = next(iter(read_star(tmp_path / "out" / "m1_autopick.star").values()))
    found = np.array([table.floats("rlnCoordinateX"), table.floats("rlnCoordinateY")]).T
    distance = np.linalg.norm(found[:, None] - points[None], axis=2)
    assert len(found) == 16
    assert (distance.min(axis=0) < 2).all()
    psi = np.array(table.floats("rlnAnglePsi"))[distance.argmin(axis=0)]
    assert (np.abs((psi - angles + 90) % 180 - 90) < 1).all()
    assert set(table.texts("rlnClassNumber")) == {"1"}


def test_needs_exactly_one_source(tmp_path: Path) -> None:
    example, _, _ = make_input(tmp_path)
    for params in (TemplateParams(), TemplateParams(templates=tmp_path / "bar.mrcs", map=tmp_path / "bar.mrcs")):
        with pytest.raises(BadInput, match="one of them"):
            TemplatePicker().run(example, params, Context(workdir=tmp_path))


def test_a_map_that_is_no_cube_is_named(tmp_path: Path) -> None:
    example, _, _ = make_input(tmp_path)
    with pytest.raises(BadInput, match=r"bar\.mrcs.*cube"):
        TemplatePicker().run(example, TemplateParams(map=tmp_path / "bar.mrcs"), Context(workdir=tmp_path))
