"""What Topaz writes, what it is called with, and at which scale it sees a micrograph."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from magellon.bundled.topaz.magellon_topaz.coordinates import Pick, read_coordinates
from magellon.bundled.topaz.magellon_topaz.program import STAND_IN, build_command, name_device
from magellon.bundled.topaz.magellon_topaz.scale import choose_factor, scale_back
from magellon.errors import BadInput, Transient


def test_picks_come_best_first(tmp_path: Path) -> None:
    table = tmp_path / "picks.txt"
    table.write_text("image_name\tx_coord\ty_coord\tscore\nimage\t12\t7\t-1.5\nimage\t3\t90\t4.25\n")
    assert read_coordinates(table) == [Pick(3, 90, 4.25), Pick(12, 7, -1.5)]
    table.write_text("image_name\tx_coord\ty_coord\tscore\n")
    assert read_coordinates(table) == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "starts with"),
        ("x\ty\n1\t2\n", "not with the columns"),
        ("image_name\tx_coord\ty_coord\tscore\nimage\t1\t2\n", "line 2"),
        ("image_name\tx_coord\ty_coord\tscore\nimage\t1\t2\t3\nimage\t1\tb\t3\n", "line 3"),
        ("image_name\tx_coord\ty_coord\tscore\nimage\t1\tnan\t3\n", "not finite"),
    ],
)
def test_a_table_that_is_none_says_where(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "picks.txt").write_text(text)
    with pytest.raises(Transient, match=named):
        read_coordinates(tmp_path / "picks.txt")
    with pytest.raises(Transient, match="left no coordinates"):
        read_coordinates(tmp_path / "nothing.txt")


def test_the_program_is_that_of_the_environment() -> None:
    command = build_command(["extract", "a b; c"], 3, python="/env/bin/python")
    assert command == [
        "env", f"PYTHONPATH={STAND_IN}", "OMP_NUM_THREADS=3", "MKL_NUM_THREADS=3", "/env/bin/topaz", "extract", "a b; c"
    ]  # fmt: skip
    assert [name_device(each) for each in ("cpu", "cuda", "cuda:1")] == ["-1", "0", "1"]


def test_particles_become_about_twenty_pixels_wide() -> None:
    assert choose_factor(200.0, 1.25, (4096, 4096)) == 8
    assert choose_factor(15.0, 1.25, (4096, 4096)) == 1
    with pytest.raises(BadInput, match="72 px"):
        choose_factor(400.0, 1.0, (1024, 2048))


@pytest.mark.parametrize("side", [1000, 1023])
def test_coordinates_are_scaled_back_as_topaz_crops(side: int) -> None:
    """A spot is reduced as Topaz does it, by cropping its transform to a whole number of pixels."""
    factor, place = 8, 401.6
    line = np.exp(-((np.arange(side) - place) ** 2) / (2 * 20.0**2))
    kept = side // factor
    reduced = np.fft.irfft(np.fft.rfft(line)[: kept // 2 + 1], n=kept)
    found = float((np.arange(kept) * reduced).sum() / reduced.sum())
    assert scale_back(found, side, factor) == pytest.approx(place, abs=0.05)


def test_the_stand_in_refuses_to_train() -> None:
    functions = runpy.run_path(str(STAND_IN / "torchvision" / "transforms" / "functional.py"))
    for name in ("rotate", "hflip", "vflip"):
        with pytest.raises(NotImplementedError, match="cannot be trained"):
            functions[name](None, 90)
