"""What a plugin's author tests: the contract by the kit, the answer by what is known of the example."""

from pathlib import Path

import numpy as np
from valley_picker import ValleyParams, ValleyPicker

from magellon.io.star import read_star
from magellon.testing import check_backend, make_example
from magellon.testing.examples import CENTRES, DIAMETER


def test_finds_the_discs_and_keeps_the_rules(tmp_path: Path) -> None:
    example = make_example("particle_picking", tmp_path / "input")
    output = check_backend(ValleyPicker, example, ValleyParams(diameter=DIAMETER), workdir=tmp_path / "kept")
    [picks] = read_star(output.picks.path).values()
    found = sorted(zip(picks.floats("rlnCoordinateY"), picks.floats("rlnCoordinateX"), strict=True))
    assert output.picks.count == len(CENTRES)
    np.testing.assert_allclose(found, sorted(CENTRES), atol=4)
