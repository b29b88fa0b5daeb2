"""Tuning from files: which belong together, what is refused, and that the result is a denoiser."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from magellon.algorithms.denoising.tuning import Tuning
from magellon.backends.denoise.halves import find_halves, train_on_halves
from magellon.backends.denoise.weights import DEFAULT_NETWORK, open_denoiser, read_blend
from magellon.cli import app
from magellon.errors import BadInput
from magellon.io.mrc import write_mrc


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """Two movies' half sums of 300 Å."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        for half in ("EVN", "ODD"):
            write_mrc(tmp_path / f"{name}_{half}.mrc", rng.normal(50, 7, (120, 128)).astype(np.float32), 2.5)
    write_mrc(tmp_path / "a.mrc", np.zeros((8, 8), np.float32), 2.5)
    return tmp_path


def test_halves_are_found_in_folders_and_by_either_name(session: Path) -> None:
    both = [(session / f"{name}_EVN.mrc", session / f"{name}_ODD.mrc") for name in ("a", "b")]
    assert find_halves([session]) == both
    assert find_halves([session / "b_ODD.mrc", session / "a_EVN.mrc", session / "a_ODD.mrc"]) == both


def test_what_is_no_half_or_alone_is_refused(session: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a\.mrc: not a half sum"):
        find_halves([session / "a.mrc"])
    (session / "b_ODD.mrc").unlink()
    with pytest.raises(BadInput, match=r"b_ODD\.mrc is missing"):
        find_halves([session])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no half sums"):
        find_halves([tmp_path / "empty"])


def test_the_result_is_a_denoiser_that_says_how_it_did(session: Path, tmp_path: Path) -> None:
    tuned = train_on_halves(find_halves([session]), tmp_path / "tuned.onnx", Tuning(steps=1))
    network = open_denoiser(tmp_path / "tuned.onnx")
    assert float(network.metadata["held_out_error_before"]) == pytest.approx(tuned.before, abs=1e-4)
    assert float(network.metadata["held_out_error_after"]) == pytest.approx(tuned.after, abs=1e-4)
    assert read_blend(network) == read_blend(open_denoiser(DEFAULT_NETWORK))


def test_one_pair_is_too_few(session: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least 2"):
        train_on_halves(find_halves([session])[:1], tmp_path / "tuned.onnx", Tuning(steps=1))


def test_the_command_says_what_came_of_it(session: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "tuned.onnx"
    done = CliRunner().invoke(app, ["train", "denoiser", str(session), "--steps", "1", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "pairs held out of 2" in done.output
    assert str(out) in done.output.replace("\n", "")
    assert out.is_file()


def test_the_command_refuses_a_place_that_cannot_be_written_before_it_learns(session: Path) -> None:
    done = CliRunner().invoke(app, ["train", "denoiser", str(session), "--steps", "100000", "--out", "/proc/tuned.onnx"])
    assert isinstance(done.exception, BadInput)
    assert "/proc/tuned.onnx: cannot be written" in str(done.exception)
