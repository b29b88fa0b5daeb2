"""What a plugin's author tests: the contract by the kit, the answer by what is known of the example."""

from pathlib import Path

import numpy as np
from valley_picker import ValleyParams, ValleyPicker

from magellon.contracts import Micrograph, PickingInput
from magellon.io.mrc import write_mrc
from magellon.io.star import read_star
from magellon.testing import check_backend

CENTRES = [(60, 50), (64, 190), (190, 120)]


def make_micrograph(folder: Path) -> Micrograph:
    """Three dark discs of 60 Å at known places, in noise."""
    y, x = np.mgrid[:256, :256]
    image = np.random.default_rng(1).normal(0, 1, (256, 256))
    for centre_y, centre_x in CENTRES:
        image -= 1.5 * ((y - centre_y) ** 2 + (x - centre_x) ** 2 < 15**2)
    write_mrc(folder / "discs.mrc", image.astype(np.float32), 2.0)
    return Micrograph(name="discs", path=folder / "discs.mrc", pixel_size=2.0, shape=image.shape)


def test_finds_the_discs_and_keeps_the_rules(tmp_path: Path) -> None:
    example = PickingInput(micrograph=make_micrograph(tmp_path))
    output = check_backend(ValleyPicker, example, ValleyParams(diameter=60), workdir=tmp_path / "kept")
    [picks] = read_star(output.picks.path).values()
    found = sorted(zip(picks.floats("rlnCoordinateY"), picks.floats("rlnCoordinateX"), strict=True))
    assert output.picks.count == len(CENTRES)
    np.testing.assert_allclose(found, CENTRES, atol=3)
