from collections.abc import Callable
from typing import Any

import pytest

from magellon.algorithms.picking import propose_diameter


@pytest.mark.parametrize(("kind", "diameter"), [("ball", 120.0), ("shell", 180.0)])
def test_proposes_within_a_fifth(make_scenery: Callable[..., Any], kind: str, diameter: float) -> None:
    scenery = make_scenery(kind, 30, diameter=diameter, size=640)
    proposal = propose_diameter(scenery.image, 2.0)
    assert proposal.diameter == pytest.approx(diameter, rel=0.2)
    assert proposal.confidence > 0.5
    assert proposal.picks > 10


def test_says_when_there_is_nothing_to_measure(make_scenery: Callable[..., Any]) -> None:
    assert propose_diameter(make_scenery("ball", 0, size=512).image, 2.0).confidence < 0.5


def test_an_image_too_small_for_any_particle_is_answered(make_scenery: Callable[..., Any]) -> None:
    proposal = propose_diameter(make_scenery("ball", 0, size=64).image, 2.0)
    assert proposal.confidence == 0
    assert proposal.diameter > 0
