from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from magellon.algorithms.picking import propose_diameter


def draw_patchwork(diameter: float, hole: float, seed: int = 3) -> torch.Tensor:
    """25 particles of dark and void patches of 18 Å, hollow to a share of their diameter, at 2 Å/px in white noise."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=(648, 648))
    patches = np.kron(rng.integers(0, 2, (72, 72)), np.ones((9, 9))) * 2
    y, x = np.mgrid[:648, :648]
    for row, column in np.ndindex(5, 5):
        cy, cx = (np.array([row, column]) + 0.5) * 130 + rng.uniform(-10, 10, 2)
        r = np.hypot(y - cy, x - cx) * 2 / diameter * 2
        inside = (r < 1) & (r >= hole)
        image[inside] -= patches[inside]
    return torch.from_numpy(image.astype(np.float32))


@pytest.mark.parametrize(("diameter", "hole"), [(180.0, 0.0), (200.0, 0.0), (180.0, 0.4)])
def test_proposes_within_a_fifth(diameter: float, hole: float) -> None:
    """The patches are no particles, though each of them stands out."""
    proposal = propose_diameter(draw_patchwork(diameter, hole), 2.0)
    assert proposal.diameter == pytest.approx(diameter, rel=0.2)
    assert proposal.confidence > 0.5
    assert proposal.picks > 10


@pytest.mark.parametrize(("kind", "diameter"), [("ball", 120.0), ("shell", 180.0)])
def test_a_particle_without_texture_is_not_trusted_where_it_is_wrong(
    make_scenery: Callable[..., Any], kind: str, diameter: float
) -> None:
    proposal = propose_diameter(make_scenery(kind, 30, diameter=diameter, size=640).image, 2.0)
    assert proposal.confidence < 0.5 or proposal.diameter == pytest.approx(diameter, rel=0.2)


def test_says_when_there_is_nothing_to_measure(make_scenery: Callable[..., Any]) -> None:
    assert propose_diameter(make_scenery("ball", 0, size=512).image, 2.0).confidence < 0.5


def test_pixels_too_coarse_for_texture_are_not_trusted() -> None:
    """The same scene binned three times: what the proposal looks at is gone."""
    image = torch.nn.functional.avg_pool2d(draw_patchwork(180.0, 0.4)[None, None], 3)[0, 0] * 3
    assert propose_diameter(image, 6.0).confidence < 0.5


def test_an_image_too_small_for_any_particle_is_answered(make_scenery: Callable[..., Any]) -> None:
    proposal = propose_diameter(make_scenery("ball", 0, size=64).image, 2.0)
    assert proposal.confidence == 0
    assert proposal.diameter > 0
