"""Point groups."""

import numpy as np
import pytest

from magellon.simulation.symmetry import symmetry_operators


@pytest.mark.parametrize(("group", "order"), [("C1", 1), ("C4", 4), ("D2", 4), ("D7", 14), ("T", 12), ("O", 24)])
def test_group_is_closed_and_proper(group: str, order: int) -> None:
    operators = symmetry_operators(group)
    assert len(operators) == order
    assert np.allclose(np.linalg.det(operators), 1)
    assert np.allclose(operators[0], np.eye(3))
    products = np.einsum("aij,bjk->abik", operators, operators).reshape(-1, 1, 3, 3)
    assert np.isclose(products, operators[None], atol=1e-6).all(axis=(2, 3)).any(axis=1).all()


@pytest.mark.parametrize("name", ["", "X", "C0", "I", "O2"])
def test_unknown_group_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="known are"):
        symmetry_operators(name)
