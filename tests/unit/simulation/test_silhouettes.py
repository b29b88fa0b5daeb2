"""The bank of particles that networks learn from: of usual sizes and densities, in one piece or two, reproducible."""

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from magellon.simulation.phantoms import build_model
from magellon.simulation.silhouettes import draw_plan, make_bank


@pytest.mark.parametrize("seed", range(8))
def test_phantoms_drawn_at_random_are_proteins(seed: int) -> None:
    rng = np.random.default_rng(seed)
    model = build_model("random", draw_plan(rng), rng)
    assert 45 < model.diameter < 500
    assert 300 < len(model.positions) < 2_000_000
    cell = 8.0
    place = np.floor((model.positions - model.positions.min(axis=0)) / cell).astype(int)
    filled = np.zeros(place.max(axis=0) + 1, dtype=int)
    np.add.at(filled, tuple(place.T), 1)
    assert 10 < cell**3 / np.percentile(filled[filled > 0], 90) < 25, "Å³ for each heavy atom"
    _, count = label(filled > 0, structure=np.ones((3, 3, 3)))
    assert count <= 2, "a dihedral one may fall into halves"


def test_a_bank_is_the_same_for_the_same_seed() -> None:
    first, again = (make_bank(np.random.default_rng(4), 8.0, 6, 2, ("capsid", "shell")) for _ in range(2))
    assert len(first) == 6 + 2 * 6, "all phantoms but two, twice"
    assert {len(views) for views in first} == {2}
    for views, same in zip(first, again, strict=True):
        for view, other in zip(views, same, strict=True):
            assert torch.equal(view.potential, other.potential)
            assert 0 < float(view.potential.max()) < 5000
