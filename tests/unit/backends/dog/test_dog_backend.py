import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from magellon.algorithms.picking import pick_dog
from magellon.algorithms.picking.field import smooth
from magellon.backends.denoise.backend import Denoise, DenoiseParams
from magellon.backends.dog.backend import DogParams, DogPicker
from magellon.contracts import BadInput, Context, DenoisingInput, Micrograph, PickingInput
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.star import read_star
from magellon.simulation.exposures import draw_pair
from magellon.simulation.silhouettes import draw_cloud, project_cloud
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


def test_rings_of_neighbours_in_a_denoised_micrograph_are_no_particles(tmp_path: Path) -> None:
    rng = np.random.default_rng(18)
    cloud = draw_cloud(rng)
    views = [project_cloud(rng, cloud, 2.5, 4.0) for _ in range(8)]
    diameter = max(view.extent for view in views)
    pair = draw_pair(rng, [views], 480, 4.0, (30, 30.1))
    write_mrc(tmp_path / "m1.mrc", pair.first.numpy(), 4.0)
    example = Micrograph(name="m1", path=tmp_path / "m1.mrc", pixel_size=4.0, shape=(480, 480))
    output = Denoise().run(DenoisingInput(micrograph=example), DenoiseParams(), Context(workdir=tmp_path))
    darkness = -smooth(pair.particles, diameter / 4 / 6)
    counts = []
    for image in (pair.first, torch.from_numpy(read_mrc(output.denoised.path))):
        places = pick_dog(image, 4.0, diameter).coordinates.round().long()
        counts.append(len(places))
        assert (darkness[places[:, 1], places[:, 0]] > 3 * darkness.std()).all(), "each lies on a particle"
    assert counts[0] == counts[1] > 5


@pytest.mark.parametrize(("blur", "warned"), [(0.0, False), (1.5, True)], ids=["as it is", "low-passed"])
def test_a_micrograph_whose_noise_is_not_white_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, blur: float, warned: bool
) -> None:
    example, _ = make_input(tmp_path)
    image = torch.from_numpy(read_mrc(example.micrograph.path))
    write_mrc(example.micrograph.path, (smooth(image, blur) if blur else image).numpy(), 4.0)
    context = Context(workdir=tmp_path, log=logging.getLogger("of this test"))
    DogPicker().run(example, DogParams(diameter=160.0), context)
    assert ("counts on white noise" in caplog.text) == warned
