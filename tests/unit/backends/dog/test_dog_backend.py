from pathlib import Path

import numpy as np
import pytest

from magellon.backends.dog.backend import DogParams, DogPicker
from magellon.contracts import BadInput, Context, Micrograph, PickingInput
from magellon.io.mrc import write_mrc
from magellon.io.star import read_star
from magellon.testing import check_backend


def make_input(folder: Path, *, constant: bool = False) -> tuple[PickingInput, np.ndarray]:
    """Dark discs of 160 Å on noise at 4 Å/px."""
    rng = np.random.default_rng(4)
    points = np.array([[x, y] for x in range(60, 320, 75) for y in range(60, 320, 75)]) + rng.uniform(-12, 12, (16, 2))
    y, x = np.mgrid[:384, :384]
    image = rng.normal(size=(384, 384)).astype(np.float32)
    for cx, cy in points:
        image -= 0.8 * (np.hypot(x - cx, y - cy) < 20)
    if constant:
        image[:] = 1
    path = folder / "m1.mrc"
    write_mrc(path, image.astype(np.float32), 4.0)
    return PickingInput(micrograph=Micrograph(name="m1", path=path, pixel_size=4.0, shape=(384, 384))), points


def test_keeps_to_the_rules_of_backends_and_finds_the_particles(tmp_path: Path) -> None:
    example, points = make_input(tmp_path)
    (tmp_path / "out").mkdir()
    output = check_backend(DogPicker, example, DogParams(diameter=160.0), workdir=tmp_path / "out")
    table = next(iter(read_star(tmp_path / "out" / "m1_autopick.star").values()))
    found = np.array([table.floats("rlnCoordinateX"), table.floats("rlnCoordinateY")]).T
    distance = np.linalg.norm(found[:, None] - points[None], axis=2)
    assert output.picks.count == len(found) == 16
    assert (distance.min(axis=0) < 2).all()
    assert (np.diff(table.floats("rlnAutopickFigureOfMerit")) <= 0).all()


@pytest.mark.parametrize(("diameter", "words"), [(5.0, "4 pixels"), (5000.0, "half the image")])
def test_names_file_and_limit(tmp_path: Path, diameter: float, words: str) -> None:
    example, _ = make_input(tmp_path)
    with pytest.raises(BadInput, match=f"m1.mrc.*{words}"):
        DogPicker().run(example, DogParams(diameter=diameter), Context(workdir=tmp_path))


def test_a_constant_micrograph_is_bad_input(tmp_path: Path) -> None:
    example, _ = make_input(tmp_path, constant=True)
    with pytest.raises(BadInput, match=r"m1\.mrc.*constant"):
        DogPicker().run(example, DogParams(diameter=160.0), Context(workdir=tmp_path))
