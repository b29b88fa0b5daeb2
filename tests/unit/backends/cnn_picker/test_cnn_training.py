"""The picker's network is taught: by a person, by a classification; and what it refuses to learn from."""

from pathlib import Path

import numpy as np
import pytest
import torch

from magellon.algorithms.picking.decoding import Calibration
from magellon.algorithms.picking.network import PickerNet
from magellon.algorithms.picking.teaching import Lesson, adjust_calibration, load_net, split_lessons
from magellon.algorithms.picking.view import View
from magellon.backends.cnn_picker.backend import SHIPPED, CnnParams, CnnPicker
from magellon.backends.cnn_picker.files import read_picking_net
from magellon.backends.cnn_picker.lessons import read_centres, read_kept
from magellon.backends.cnn_picker.training import CnnTraining, CnnTrainingParams
from magellon.contracts import BadInput, Context, Micrograph, PickerTrainingInput, PickerTrainingItem, PickingInput, Picks
from magellon.io.mrc import write_mrc
from magellon.io.star import StarTable, read_star, write_star
from magellon.testing import check_backend

PIXEL_SIZE, DIAMETER = 4.0, 160.0
NOTHING = torch.zeros(0, 2, dtype=torch.float64)


def write_points(path: Path, points: np.ndarray, **more: list[object]) -> Path:
    x, y = points[:, 0].tolist(), points[:, 1].tolist()
    write_star(path, {"": StarTable({"rlnCoordinateX": x, "rlnCoordinateY": y, **more})})
    return path


def write_balls(path: Path, seed: int, bright: float = 0.0) -> tuple[Micrograph, np.ndarray, np.ndarray]:
    """Balls of 150 Å on noise at 4 Å/px; a share of them is bright instead of dark, as no protein is.

    Returns:
        The micrograph, and the centres of the dark and of the bright ones.
    """
    rng = np.random.default_rng([1, seed])
    points = np.array([[x, y] for x in range(60, 330, 65) for y in range(60, 330, 65)]) + rng.uniform(-10, 10, (25, 2))
    y, x = np.mgrid[:384, :384]
    image = rng.normal(size=(384, 384)).astype(np.float32)
    chosen = rng.random(25) < bright
    for (cx, cy), shines in zip(points, chosen, strict=True):
        ball = np.sqrt(np.clip(1 - ((x - cx) ** 2 + (y - cy) ** 2) / 19**2, 0, None)).astype(np.float32)
        image += 0.9 * (ball if shines else -ball)
    write_mrc(path, image, PIXEL_SIZE)
    return Micrograph(name=path.stem, path=path, pixel_size=PIXEL_SIZE, shape=(384, 384)), points[~chosen], points[chosen]


def make_item(folder: Path, number: int, bright: float = 0.0) -> tuple[PickerTrainingItem, np.ndarray]:
    """A micrograph with everything picked, and where its bright balls are, or all of them where none is bright."""
    micrograph, dark, shining = write_balls(folder / f"m{number}.mrc", number, bright)
    everything = np.concatenate([dark, shining])
    path = write_points(folder / f"m{number}_autopick.star", everything)
    picks = Picks(path=path, count=len(everything), diameter=DIAMETER)
    return PickerTrainingItem(micrograph=micrograph, picks=picks), shining if bright else everything


@pytest.mark.slow
def test_it_learns_what_it_did_not_know_and_the_picker_uses_it(tmp_path: Path) -> None:
    """A classification kept the bright balls, the opposite of all that the network was made for."""
    made = [make_item(tmp_path, number, 0.5) for number in range(6)]
    names = [f"somewhere/{item.micrograph.name}.mrc" for item, wanted in made for _ in range(len(wanted))]
    centres = np.concatenate([wanted for _, wanted in made])
    kept = write_points(tmp_path / "particles.star", centres, rlnMicrographName=names)
    (tmp_path / "out").mkdir()
    teaching = PickerTrainingInput(items=tuple(item for item, _ in made), kept=kept)
    output = CnnTraining().run(teaching, CnnTrainingParams(steps=150), Context(workdir=tmp_path / "out"))
    assert output.improved
    assert output.after > output.before + 0.2
    micrograph, _, wanted = write_balls(tmp_path / "new.mrc", 99, 0.5)
    example = PickingInput(micrograph=micrograph, network=output.network)
    found = CnnPicker().run(example, CnnParams(diameter=DIAMETER), Context(workdir=tmp_path))
    table = next(iter(read_star(found.picks.path).values()))
    points = np.array([table.floats("rlnCoordinateX"), table.floats("rlnCoordinateY")]).T
    assert (np.linalg.norm(points[:, None] - wanted[None], axis=2).min(axis=1) < 5).mean() > 0.75


@pytest.mark.slow
def test_keeps_to_the_rules_of_backends(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    items = tuple(make_item(tmp_path / "in", number)[0] for number in range(2))
    check_backend(CnnTraining, PickerTrainingInput(items=items), CnnTrainingParams(steps=10))


def test_classified_particles_are_read_with_their_origins(tmp_path: Path) -> None:
    origins = {"rlnOriginXAngst": [4.0, -8.0], "rlnOriginYAngst": [0.0, 2.0], "rlnMicrographName": ["a/m.mrc", "a/n.mrc"]}
    path = write_points(tmp_path / "particles.star", np.array([[10.7, 20.2], [30.0, 40.9]]), **origins)
    kept = read_kept(path, 4.0)
    assert kept["m"].tolist() == [[9.0, 20.0]]
    assert kept["n"].tolist() == [[32.0, 39.5]]


@pytest.mark.parametrize(("micrographs", "particles", "words"), [(1, 50, "at least 2"), (2, 4, "at least 20")])
def test_too_little_to_learn_from(micrographs: int, particles: int, words: str) -> None:
    view = View(torch.zeros(2, 64, 64), (1.0, 1.0))
    lessons = [Lesson(f"m{each}", view, torch.full((particles, 2), 30.0), NOTHING, NOTHING) for each in range(micrographs)]
    with pytest.raises(BadInput, match=words):
        split_lessons(lessons, 0.25, torch.Generator())


@pytest.mark.parametrize("number", [0, 3])
def test_a_classification_that_kept_too_little_leaves_the_network_as_it_was(tmp_path: Path, number: int) -> None:
    item, wanted = make_item(tmp_path, 1)
    names = [f"{item.micrograph.name}.mrc"] * number
    kept = write_points(tmp_path / "particles.star", wanted[:number], rlnMicrographName=names)
    output = CnnTraining().run(PickerTrainingInput(items=(item,), kept=kept), CnnTrainingParams(), Context(workdir=tmp_path))
    assert not output.improved
    (before, calibration), (after, calibrated) = read_picking_net(SHIPPED), read_picking_net(output.network)
    assert calibration == calibrated
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())
    picking = PickingInput(micrograph=item.micrograph, network=output.network)
    assert CnnPicker().run(picking, CnnParams(diameter=DIAMETER), Context(workdir=tmp_path)).picks.count > 0


def test_picks_of_another_binning_are_refused(tmp_path: Path) -> None:
    micrograph, _, _ = write_balls(tmp_path / "m.mrc", 1)
    path = write_points(tmp_path / "p.star", np.array([[800.0, 20.0]]))
    with pytest.raises(BadInput, match=r"p\.star.*outside m\.mrc"):
        read_centres(path, micrograph)


def test_another_networks_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="not those of a picker"):
        load_net({"stem.weight": torch.zeros(3)})
    (tmp_path / "bad.onnx").write_bytes(b"")
    with pytest.raises(BadInput, match=r"bad\.onnx"):
        read_picking_net(tmp_path / "bad.onnx")


class TooSure(PickerNet):
    """Sees a particle wherever the view holds anything, and is sure of it."""

    def forward(self, view: torch.Tensor) -> torch.Tensor:
        output = torch.full((1, 4, view.shape[-2] // 2, view.shape[-1] // 2), -6.0)
        output[:, 0][torch.nn.functional.avg_pool2d(view[:, 0], 2) > 0] = 3.0
        output[:, 1:3] = 0
        return output


def test_an_overconfident_network_is_calibrated_down() -> None:
    """Half of what it sees is there."""
    channels = torch.zeros(2, 256, 256)
    channels[0, 8::16, 8::16] = 1.0
    view = View(channels, (1.0, 1.0))
    line = torch.arange(16, dtype=torch.float64) * 16 + 8.5
    places = torch.cartesian_prod(line, line)
    lesson = Lesson("m", view, places[::2], NOTHING, NOTHING)
    logits = torch.linspace(-6, 6, 49, dtype=torch.float64)
    true = Calibration(tuple(logits.tolist()), tuple(torch.sigmoid(logits).tolist()))
    adjusted = adjust_calibration(TooSure(), true, [lesson])
    assert float(adjusted.apply(torch.tensor([3.0]))) == pytest.approx(0.5, abs=0.08)
