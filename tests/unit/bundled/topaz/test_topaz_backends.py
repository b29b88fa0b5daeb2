"""The backends with a program in the place of `topaz`: what they pass on, what they bring back, what they leave."""

import sys
from pathlib import Path

import numpy as np
import pytest

from magellon.bundled.topaz.magellon_topaz import program
from magellon.bundled.topaz.magellon_topaz.denoising import TopazDenoiser
from magellon.bundled.topaz.magellon_topaz.picking import TopazPicker, TopazPickerParams
from magellon.contracts import Backend, BadInput, Context, DenoisingInput, Micrograph, PickingInput, Transient
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.star import read_star
from magellon.testing import check_backend

SHAPE = (640, 800)
FAKE = f"""#!{sys.executable}
import os, shutil, sys
command, arguments = sys.argv[1], sys.argv[2:]
value = dict(zip(arguments, arguments[1:]))
assert os.path.isdir(os.environ["PYTHONPATH"] + "/torchvision")
if command == "preprocess":
    os.mkdir(value["-o"])
    shutil.copy(arguments[-1], value["-o"])
    open(value["-o"] + "/factor", "w").write(value["-s"])
elif command == "extract":
    assert open(os.path.dirname(arguments[-1]) + "/factor").read() == "8"
    rows = [("x_coord", "y_coord", "score"), (10, 20, 0.5), (90, 40, 3.25)]
    with open(value["-o"], "w") as out:
        out.writelines("\\t".join(map(str, ("image_name" if row == rows[0] else "image", *row))) + "\\n" for row in rows)
elif command == "denoise":
    assert value["--arch"] == "unet"
    os.mkdir(value["-o"])
    shutil.copy(arguments[-1], value["-o"])
"""


@pytest.fixture
def micrograph(tmp_path: Path) -> Micrograph:
    image = np.random.default_rng(0).normal(100, 10, SHAPE).astype(np.float32)
    write_mrc(tmp_path / "m1.mrc", image, 1.25)
    return Micrograph(name="m1", path=tmp_path / "m1.mrc", pixel_size=1.25, shape=SHAPE)


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The `bin` folder of an environment with the fake in it."""
    folder = tmp_path / "environment" / "bin"
    folder.mkdir(parents=True)
    (folder / "topaz").write_text(FAKE)
    (folder / "topaz").chmod(0o755)
    monkeypatch.setattr(program.build_command, "__defaults__", (str(folder / "python"),))
    return folder


def test_picks_come_back_in_pixels_of_the_micrograph(micrograph: Micrograph, tmp_path: Path) -> None:
    example = PickingInput(micrograph=micrograph, diameter=200.0)
    output = check_backend(TopazPicker, example, workdir=tmp_path / "out")
    table = read_star(output.picks.path)[""]
    assert output.picks.count == 2
    assert list(table.floats("rlnCoordinateX")) == [720.0, 80.0], "reduced eight times, the better first"
    assert list(table.floats("rlnCoordinateY")) == [320.0, 160.0]
    assert list(table.floats("rlnAutopickFigureOfMerit")) == [3.25, 0.5]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["m1_autopick.star", "m1_picks.png"]


def test_denoised_micrograph_has_our_header(micrograph: Micrograph, tmp_path: Path) -> None:
    output = check_backend(TopazDenoiser, DenoisingInput(micrograph=micrograph), workdir=tmp_path / "out")
    assert output.denoised.path.name == "m1_denoised.mrc"
    assert output.denoised.pixel_size == 1.25
    np.testing.assert_array_equal(read_mrc(output.denoised.path), read_mrc(micrograph.path))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["m1_denoised.mrc", "m1_denoised.png"]


def test_without_a_diameter_it_cannot_choose_a_scale(micrograph: Micrograph, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"m1\.mrc.*diameter"):
        TopazPicker().run(PickingInput(micrograph=micrograph), TopazPickerParams(), Context(workdir=tmp_path))


@pytest.mark.parametrize("backend", [TopazPicker, TopazDenoiser])
def test_a_program_that_fails_is_tried_again(
    backend: type[Backend], micrograph: Micrograph, environment: Path, tmp_path: Path
) -> None:
    (environment / "topaz").write_text("#!/bin/sh\necho no memory\nexit 3\n")
    (tmp_path / "work").mkdir()
    given = {"micrograph": micrograph, **({"diameter": 200.0} if backend is TopazPicker else {})}
    with pytest.raises(Transient, match="status 3: no memory"):
        backend().run(backend.contract.Input(**given), backend.Params(), Context(workdir=tmp_path / "work"))
