"""`stack-maker` gives the boxes that `relion_preprocess` gives for our coordinates."""

import re
from pathlib import Path

import numpy as np
import pytest
from relion_tables import micrograph_optics

from magellon.backends.stack_maker.backend import StackMaker
from magellon.backends.stack_maker.params import StackMakerParams
from magellon.contracts import Context, ExtractionInput, Micrograph, Picks
from magellon.io.mrc import read_mrc, write_mrc
from magellon.io.star import read_star, write_star

PIXEL = 1.2
SHAPE = (500, 700)
RADIUS_PART = 0.375


def write_inputs(folder: Path, coordinates: np.ndarray) -> ExtractionInput:
    """A micrograph `mic/a.mrc` with noise, a slope and a large mean, and picks (x, y) on it."""
    (folder / "mic").mkdir()
    rng = np.random.default_rng(3)
    image = rng.normal(0, 3, SHAPE) + 200 + np.linspace(0, 9, SHAPE[1]) - np.linspace(0, 5, SHAPE[0])[:, None]
    write_mrc(folder / "mic/a.mrc", image.astype(np.float32), PIXEL)
    write_star(
        folder / "mics.star",
        {
            "optics": micrograph_optics(PIXEL),
            "micrographs": {"rlnMicrographName": ["mic/a.mrc"], "rlnOpticsGroup": [1]},
        },
    )  # fmt: skip
    x, y = coordinates.T.tolist()
    write_star(folder / "mic/a_picks.star", {"": {"rlnCoordinateX": x, "rlnCoordinateY": y}})
    return ExtractionInput(
        micrograph=Micrograph(name="a", path=folder / "mic/a.mrc", pixel_size=PIXEL, shape=SHAPE),
        picks=Picks(path=folder / "mic/a_picks.star", count=len(x), diameter=60.0),
    )


def scatter(count: int, margin: float) -> np.ndarray:
    return np.random.default_rng(4).uniform(margin, np.array(SHAPE[::-1]) - margin, (count, 2))


@pytest.mark.parametrize(("box", "size"), [(128, None), (128, 64), (96, 60), (100, 98)])
def test_boxes_are_those_of_relion(tmp_path: Path, relion, box: int, size: int | None) -> None:
    """Cut, rescaled, flattened, normalised and inverted alike, also where they hang over the edge."""
    example = write_inputs(tmp_path, scatter(60, 5))
    workdir = tmp_path / "ours"
    workdir.mkdir()
    params = StackMakerParams(box_size=box, rescaled_size=size, minimum_distance=0)
    output = StackMaker().run(example, params, Context(workdir=workdir))
    assert output.padded_at_edge > 5
    particles = read_star(output.particles.star)["particles"]
    write_star(tmp_path / "mic/a_ours.star", {"": {label: particles[label] for label in ("rlnCoordinateX", "rlnCoordinateY")}})
    radius = round(RADIUS_PART * (size or box))
    relion(
        "preprocess", i="mics.star", coord_suffix="_ours.star", coord_dir="./", part_dir="P/", part_star="p.star", extract=True,
        extract_size=box, scale=size or box, norm=True, bg_radius=radius, invert_contrast=True,
    )  # fmt: skip
    theirs = read_mrc(tmp_path / "P/mic/a.mrcs")
    assert output.particles.stack is not None
    assert np.abs(read_mrc(output.particles.stack) - theirs).max() < 1e-4


def test_relion_truncates_coordinates(tmp_path: Path, relion) -> None:
    """Why we write whole coordinates and origins: RELION cuts at 100 for 100.9, and keeps 100.9 in its file."""
    write_inputs(tmp_path, np.array([[100.9, 200.9]]))
    relion(
        "preprocess", i="mics.star", coord_suffix="_picks.star", coord_dir="./", part_dir="P/", part_star="p.star",
        extract=True, extract_size=32,
    )  # fmt: skip
    box = read_mrc(tmp_path / "P/mic/a.mrcs")
    image = read_mrc(tmp_path / "mic/a.mrc")
    assert np.array_equal(box.reshape(32, 32), image[200 - 16 : 200 + 16, 100 - 16 : 100 + 16])
    assert read_star(tmp_path / "p.star")["particles"].floats("rlnCoordinateX") == [100.9]


def test_relion_reads_the_stack_and_its_star_file(tmp_path: Path, relion) -> None:
    """Number, size, pixel size and every pixel, through RELION's own reader and writer."""
    output = StackMaker().run(write_inputs(tmp_path, scatter(7, 60)), StackMakerParams(box_size=64), Context(workdir=tmp_path))
    assert output.particles.stack is not None
    stack = read_mrc(output.particles.stack)
    relion("stack_create", i="a_extract.star", o="copy")
    assert np.array_equal(read_mrc(tmp_path / "copy.mrcs"), stack)
    copied = read_star(tmp_path / "copy.star")
    assert copied["optics"].floats("rlnImagePixelSize") == [PIXEL]
    assert copied["particles"].rows == 7
    lines = relion("image_handler", i="a.mrcs", stats=True).splitlines()
    for particle, line in zip(stack, (line for line in lines if "@a.mrcs" in line), strict=True):
        fields = dict(re.findall(r"(avg|stddev|angpix) ?= ([-0-9.e]+)", line))
        assert "64 x 64 x 1" in line
        assert float(fields["avg"]) == pytest.approx(particle.mean(), abs=1e-5)
        assert float(fields["stddev"]) == pytest.approx(particle.std(), abs=1e-4)
        assert float(fields["angpix"]) == PIXEL
