"""The examples are what they say, and every installed backend keeps the rules on them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from magellon.backends.registry import find_backends, load_backend
from magellon.contracts import CONTRACTS, CtfOutput, Micrograph, MotionOutput, PickingOutput
from magellon.errors import BadInput
from magellon.io.mrc import read_mrc
from magellon.io.star import read_star
from magellon.testing import check_backend, make_example
from magellon.testing.examples import CENTRES, CTF, DRIFT

pytest_plugins = ["magellon.testing.fixtures"]

CATEGORIES = [category for category, contract in CONTRACTS.items() if not contract.gather and not contract.on_demand]
OURS = [(each.category, each.name) for each in find_backends() if each.category in CATEGORIES]


@pytest.mark.parametrize("category", CATEGORIES)
def test_there_is_an_example_of_every_category(category: str, tmp_path: Path) -> None:
    example = make_example(category, tmp_path)
    assert isinstance(example, CONTRACTS[category].Input)
    assert all(path.is_file() for path in example.paths())


def test_there_is_none_of_an_unknown_category(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no example of baking"):
        make_example("baking", tmp_path)


def test_the_discs_are_dark(disc_micrograph: Micrograph) -> None:
    image = read_mrc(disc_micrograph.path)
    inside = [image[y - 5 : y + 6, x - 5 : x + 6].mean() for y, x in CENTRES]
    assert max(inside) < image.mean() - 1
    assert disc_micrograph.shape == image.shape


def check_answer(category: str, output: Any) -> None:
    """Where the example has a known answer, ours is near it."""
    if isinstance(output, PickingOutput):
        [table, *_] = read_star(output.picks.path).values()
        found = np.stack([table.floats("rlnCoordinateY"), table.floats("rlnCoordinateX")], axis=1)
        nearest = [np.hypot(*(found - centre).T).min() for centre in CENTRES]
        assert max(nearest) < 8
    if isinstance(output, CtfOutput):
        assert output.ctf.mean_defocus == pytest.approx(CTF.mean_defocus, abs=150)
    if isinstance(output, MotionOutput):
        assert output.total_motion == pytest.approx(11 * np.hypot(*DRIFT) * 2.0, rel=0.2)


@pytest.mark.slow
@pytest.mark.parametrize(("category", "name"), OURS)
def test_installed_backends_keep_the_rules(category: str, name: str, tmp_path: Path) -> None:
    backend = load_backend(category, name)
    if (category, name) == ("particle_picking", "template-picker"):
        pytest.skip("needs templates; its own tests check it")
    check_answer(category, check_backend(backend, make_example(category, tmp_path / "input"), workdir=tmp_path / "kept"))
