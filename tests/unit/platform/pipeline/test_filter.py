"""Thresholds and the reasons people read."""

from typing import Any

import pytest

from magellon.platform.pipeline.filter import Thresholds, judge_micrograph

CTF: dict[str, Any] = {"ctf": {"score": 0.3, "resolution": 6.0, "defocus_u": 12000.0, "defocus_v": 11000.0}, "ice": 0.5}
MOTION = {"total_motion": 40.0}


@pytest.mark.parametrize(
    ("thresholds", "reason"),
    [
        (Thresholds(min_score=0.4), "CTF score 0.3, at least 0.4 wanted"),
        (Thresholds(max_resolution=5), "CTF fit resolution 6 Å, at most 5 Å wanted"),
        (Thresholds(min_defocus=12000), "defocus 11500 Å, at least 12000 Å wanted"),
        (Thresholds(max_defocus=11000), "defocus 11500 Å, at most 11000 Å wanted"),
        (Thresholds(max_astigmatism=500), "astigmatism 1000 Å, at most 500 Å wanted"),
        (Thresholds(max_ice=0.4), "ice ring 0.5, at most 0.4 wanted"),
        (Thresholds(max_total_motion=30), "total motion 40 Å, at most 30 Å wanted"),
    ],
)
def test_each_threshold_has_its_reason(thresholds: Thresholds, reason: str) -> None:
    assert judge_micrograph(thresholds, CTF, MOTION) == (reason,)


def test_limits_themselves_pass_and_no_threshold_asks_nothing() -> None:
    exact = Thresholds(
        min_score=0.3,
        max_resolution=6,
        min_defocus=11500,
        max_defocus=11500,
        max_astigmatism=1000,
        max_ice=0.5,
        max_total_motion=40,
    )
    assert judge_micrograph(exact, CTF, MOTION) == ()
    assert judge_micrograph(Thresholds(), CTF, MOTION) == ()


def test_a_backend_that_does_not_tell_of_ice_is_not_asked() -> None:
    for silent in ({"ctf": CTF["ctf"]}, {**CTF, "ice": None}):
        assert judge_micrograph(Thresholds(max_ice=0), silent, MOTION) == ()


def test_a_measure_the_recipe_does_not_make_is_not_asked_for() -> None:
    assert judge_micrograph(Thresholds(max_total_motion=1, max_resolution=5), None, None) == ()
