"""The gain check finds how a reference was turned, whatever the format, and says so when it cannot."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from magellon.algorithms.gain_orientation import compare_gain, rank_orientations
from magellon.backends.gain_orientation.backend import GainCheckParams, GainOrientationCheck
from magellon.contracts import Context, Gain, GainCheckInput, GainCheckItem, GainCheckOutput, Movie
from magellon.io.gain import turn
from magellon.io.mrc import write_mrc
from magellon.io.tiff_movie import write_tiff_movie
from magellon.simulation.session import simulate_session
from magellon.simulation.spec import SessionSpec
from magellon.testing import check_backend

EIGHT = (*product((0, 90, 180, 270), ("none",)), *product((0, 90), ("x", "y")))


def make_gain(shape: tuple[int, int], spread: float = 0.05, seed: int = 5) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    gain = rng.normal(1, spread, shape).clip(0.5, 2).astype(np.float32)
    gain[rng.random(shape) < 0.001] = 0
    return gain


def make_frames(gain: NDArray[np.float32], frames: int, seed: int, dose: float = 1.0) -> NDArray[np.uint8]:
    """Counts under an uneven beam, as the detector stores them: without the gain applied."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: gain.shape[0], : gain.shape[1]] / max(gain.shape)
    beam = dose * (1 - 0.6 * ((x - 0.4) ** 2 + (y - 0.6) ** 2))
    response = np.divide(1, gain, out=np.zeros_like(gain), where=gain > 0)
    return rng.poisson(beam * response, (frames, *gain.shape)).astype(np.uint8)


def turn_back(gain: NDArray[np.float32], rotation: int, flip: str) -> NDArray[np.float32]:
    """The file that lies right once it is rotated and then flipped."""
    mirrored = {"none": gain, "x": gain[:, ::-1], "y": gain[::-1]}[flip]
    return np.ascontiguousarray(np.rot90(mirrored, -(rotation // 90)))


def make_input(folder: Path, gain: NDArray[np.float32], given: Gain | None = None, kind: str = "mrc") -> GainCheckInput:
    """Two movies, and the file `gain.mrc`, which the caller wrote."""
    items = []
    for number in range(2):
        frames = make_frames(gain, 12, number)
        path = folder / f"m{number}.{kind}"
        if kind == "mrc":
            write_mrc(path, frames.astype(np.float32), 1.0)
        else:
            write_tiff_movie(path, iter(frames), 1.0)
        movie = Movie(name=f"m{number}", path=path, pixel_size=1.0, gain=given or Gain(path=folder / "gain.mrc"))
        items.append(GainCheckItem(movie=movie))
    return GainCheckInput(items=tuple(items))


def run(given: GainCheckInput, folder: Path, **params: float) -> GainCheckOutput:
    (folder / "work").mkdir()
    return GainOrientationCheck().run(given, GainCheckParams.model_validate(params), Context(workdir=folder / "work"))


@pytest.mark.parametrize(("rotation", "flip"), EIGHT)
def test_each_of_the_eight_is_found(tmp_path: Path, rotation: int, flip: str) -> None:
    gain = make_gain((96, 96))
    write_mrc(tmp_path / "gain.mrc", turn_back(gain, rotation, flip), 1.0)
    [checked] = run(make_input(tmp_path, gain), tmp_path).gains
    assert checked.orientation is not None
    assert (checked.orientation.rotation, checked.orientation.flip) == (rotation, flip)
    assert checked.margin > 8
    assert (checked.gain, checked.movies) == ("gain.mrc", 2)
    assert (checked.given == checked.correlation) == ((rotation, flip) == (0, "none"))


def test_the_backend_keeps_to_its_contract(tmp_path: Path) -> None:
    gain = make_gain((96, 128))
    write_mrc(tmp_path / "gain.mrc", turn_back(gain, 90, "x"), 1.0)
    [checked] = check_backend(GainOrientationCheck, make_input(tmp_path, gain)).gains
    assert checked.orientation is not None
    assert (checked.orientation.rotation, checked.orientation.flip) == (90, "x")


def test_tiff_movies_are_laid_down_as_they_are_read(tmp_path: Path) -> None:
    gain = make_gain((96, 96))
    write_mrc(tmp_path / "gain.mrc", gain, 1.0)
    [checked] = run(make_input(tmp_path, gain, kind="tiff"), tmp_path).gains
    assert checked.orientation is not None
    assert (checked.orientation.rotation, checked.orientation.flip) == (0, "none")


def test_another_name_of_the_same_orientation_is_kept(tmp_path: Path) -> None:
    gain = make_gain((96, 96))
    write_mrc(tmp_path / "gain.mrc", turn_back(gain, 0, "y"), 1.0)
    given = Gain(path=tmp_path / "gain.mrc", rotation=180, flip="x")
    np.testing.assert_array_equal(turn(gain, 180, "x"), turn(gain, 0, "y"))
    [checked] = run(make_input(tmp_path, gain, given), tmp_path).gains
    assert checked.orientation is not None
    assert (checked.orientation.rotation, checked.orientation.flip) == (180, "x")


@pytest.mark.parametrize("case", ["flat reference", "another detector's", "corrected movies"])
def test_movies_that_do_not_show_it_decide_nothing(tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture) -> None:
    gain, even = make_gain((96, 96)), np.ones((96, 96), np.float32)
    shown = {"flat reference": gain, "another detector's": make_gain((96, 96), 0.05, 6), "corrected movies": even}
    write_mrc(tmp_path / "gain.mrc", even if case == "flat reference" else gain, 1.0)
    [checked] = run(make_input(tmp_path, shown[case]), tmp_path).gains
    assert checked.orientation is None
    assert "used as given" in caplog.text


def test_a_reference_that_is_to_be_divided_by_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gain = make_gain((96, 96))
    inverse = np.divide(1, gain, out=np.zeros_like(gain), where=gain > 0)
    write_mrc(tmp_path / "gain.mrc", inverse, 1.0)
    [checked] = run(make_input(tmp_path, gain), tmp_path).gains
    assert checked.orientation is None
    assert "divided by" in caplog.text


def test_movies_without_a_gain_need_no_check(tmp_path: Path) -> None:
    given = make_input(tmp_path, make_gain((32, 32)))
    items = tuple(GainCheckItem(movie=item.movie.model_copy(update={"gain": None})) for item in given.items)
    assert run(GainCheckInput(items=items), tmp_path).gains == ()


def test_a_gain_of_another_size_is_left_to_motion_correction(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_mrc(tmp_path / "gain.mrc", np.ones((30, 32), np.float32), 1.0)
    assert run(make_input(tmp_path, make_gain((32, 32))), tmp_path).gains == ()
    assert "not checked" in caplog.text


@pytest.mark.slow
def test_few_electrons_are_enough_on_a_whole_detector() -> None:
    gain = make_gain((1024, 1024), 0.02)
    summed = torch.from_numpy(make_frames(gain, 1, 3, dose=4.0)[0].astype(np.float32))
    ranked = rank_orientations(summed, {key: torch.from_numpy(turn_back(gain, *key)) for key in EIGHT})
    assert ranked[0][0] == (0, "none")
    assert ranked[0][1].sigma > 20
    assert abs(ranked[1][1].sigma) < 6


def test_nothing_usable_agrees_with_nothing() -> None:
    assert compare_gain(torch.zeros(32, 32), torch.ones(32, 32)).sigma == 0
    assert compare_gain(torch.ones(32, 32), torch.ones(32, 32)).correlation == 0


@pytest.mark.slow
@pytest.mark.parametrize(("rotation", "flip", "kind"), [(270, "x", "tiff"), (0, "y", "eer")])
def test_simulated_sessions(tmp_path: Path, rotation: int, flip: str, kind: str) -> None:
    """Particles, ice and a detector with defects; as few electrons as in a real movie."""
    spec = SessionSpec(movies=2, size=512, frames=16, gain_rotation=rotation, gain_flip=flip, format=kind, seed=3)
    simulate_session(tmp_path / "s", spec)
    movies = sorted((tmp_path / "s" / "movies").iterdir())
    gain = Gain(path=tmp_path / "s" / "gain.mrc")
    items = tuple(GainCheckItem(movie=Movie(name=path.stem, path=path, pixel_size=1.0, gain=gain)) for path in movies)
    [checked] = run(GainCheckInput(items=items), tmp_path).gains
    assert checked.orientation is not None
    found = turn(np.arange(16).reshape(4, 4), checked.orientation.rotation, checked.orientation.flip)
    np.testing.assert_array_equal(found, turn(np.arange(16).reshape(4, 4), rotation, flip))
    assert checked.margin > 20
