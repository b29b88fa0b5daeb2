"""A survey's sample is decided by names and states, never by who finished first."""

from typing import Any

import pytest

from magellon.backends.describe import describe_backend
from magellon.backends.gain_orientation.backend import GainOrientationCheck
from magellon.contracts.description import Description
from magellon.platform.pipeline.advance import State, advance_item
from magellon.platform.pipeline.identity import identify_item
from magellon.platform.pipeline.plan import Plan, make_plan
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.pipeline.survey import Candidate, build_survey_input, choose_sample, identify_survey

MOTION, CTF, SURVEY, PICKING = "motion_correction", "ctf_estimation", "particle_survey", "particle_picking"


def plan_with(catalogue: dict[str, Description], *keys: str) -> Plan:
    steps: dict[str, Any] = {key: {} for key in keys}
    if "filter" in steps:
        steps["filter"] = {"params": {"max_resolution": 8}}
    return make_plan(Recipe.model_validate({"steps": steps}), catalogue)


@pytest.fixture
def plan(catalogue: dict[str, Description]) -> Plan:
    return plan_with(catalogue, MOTION, CTF, SURVEY, "filter", PICKING)


def candidate(name: str, state: str, resolution: float = 4.0) -> Candidate:
    states = {MOTION: State("completed"), CTF: State(state), PICKING: State("waiting")}
    fit = {"score": 0.5, "resolution": resolution, "defocus_u": 2.0, "defocus_v": 1.0}
    return Candidate(name, states, {MOTION: f"m{name}", CTF: f"c{name}"}, lambda key: {"ctf": fit, "total_motion": 3.0})


def names(plan: Plan, *candidates: Candidate) -> list[str] | None:
    sample = choose_sample(plan, plan.surveys[0], candidates)
    return None if sample is None else [name for name, _ in sample]


def test_an_undecided_item_makes_later_ones_wait(plan: Plan) -> None:
    assert names(plan, candidate("a", "completed"), candidate("b", "running"), candidate("c", "completed")) is None
    assert names(plan, candidate("a", "completed"), candidate("b", "failed"), candidate("c", "completed")) == ["a", "c"]
    assert names(plan, candidate("a", "failed")) == []


def test_what_comes_after_a_full_sample_is_not_awaited(plan: Plan) -> None:
    first = [candidate(f"{number:02d}", "completed") for number in range(8)]
    assert names(plan, *first, candidate("09", "waiting")) == [f"{number:02d}" for number in range(8)]


def test_a_survey_below_the_filter_takes_what_passes(plan: Plan, catalogue: dict[str, Description]) -> None:
    items = [candidate("a", "completed", resolution=12), candidate("b", "completed")]
    assert names(plan, *items) == ["a", "b"]
    assert names(plan_with(catalogue, MOTION, CTF, "filter", SURVEY, PICKING), *items) == ["b"]


def test_identities_follow_the_survey(plan: Plan) -> None:
    movie = {"path": "lot:a.mrc"}
    assert set(identify_item(plan.item_steps, movie)) == {MOTION, CTF}
    one = identify_item(plan.item_steps, movie, {SURVEY: "1" * 64})
    other = identify_item(plan.item_steps, movie, {SURVEY: "2" * 64})
    assert {key for key in one if one[key] != other[key]} == {PICKING}
    step = plan.surveys[0]
    sample = choose_sample(plan, step, [candidate("a", "completed")])
    assert sample == [["a", {"ctf": ["ca", "ctf"], "micrograph": ["ma", "micrograph"]}]]
    assert identify_survey(plan, step, sample) != identify_survey(plan, step, [])


def test_the_input_is_built_of_the_sample(plan: Plan) -> None:
    micrograph = {"name": "a", "path": "a.mrc", "pixel_size": 1, "shape": [4, 4]}
    motion = {"micrograph": micrograph, "unweighted": micrograph, "even": None, "odd": None, "star": "a.star"}
    motion |= {"plot": "a.png", "frames": 2, "total_motion": 1, "early_motion": 1, "late_motion": 1}
    sample = [["a", {"micrograph": ["ab" * 32, "micrograph"]}]]
    built = build_survey_input(plan, plan.surveys[0], sample, lambda identity: motion)
    assert built["items"][0]["micrograph"]["path"] == f"home:results/ab/{'ab' * 32}/a.mrc"


def test_items_wait_for_the_survey_and_are_told_what_to_do_when_it_fails(plan: Plan) -> None:
    done = {MOTION: State("completed"), CTF: State("completed"), PICKING: State("waiting")}
    output = candidate("a", "completed").outputs
    for state, expected in {
        "running": {},
        "completed": {PICKING: State("pending")},
        "failed": {PICKING: State("skipped", "particle_survey failed: set particle_picking.diameter")},
    }.items():
        assert advance_item(plan, None, {**done, SURVEY: State(state)}, output) == expected


def test_the_filter_holds_before_the_survey_is_made(plan: Plan) -> None:
    states = {MOTION: State("completed"), CTF: State("completed"), PICKING: State("waiting"), SURVEY: State("waiting")}
    changes = advance_item(plan, None, states, candidate("a", "completed", resolution=12).outputs)
    assert changes[PICKING].state == "held"


def test_a_survey_of_movies_takes_the_first_that_can_be_processed(catalogue: dict[str, Description]) -> None:
    check = describe_backend(GainOrientationCheck)
    plan = plan_with({**catalogue, check.key: check}, "gain_check", MOTION)
    step = plan.surveys[0]
    assert plan.step(MOTION).needs == {"gain_check"}

    def movie(name: str, root: str = "lot", problem: str | None = None) -> Candidate:
        rooted = {"name": name, "path": f"{root}:{name}.mrc", "pixel_size": 1.0}
        return Candidate(name, {MOTION: State("waiting")}, {}, lambda key: {}, rooted, {"name": name, "size": 5}, problem)

    movies = [movie("a", problem="cut"), movie("b"), movie("c"), movie("d"), movie("e")]
    sample = choose_sample(plan, step, movies)
    assert sample is not None
    assert [name for name, _ in sample] == ["b", "c", "d"]
    given = build_survey_input(plan, step, sample, lambda identity: {})
    assert [item["movie"]["path"] for item in given["items"]] == ["lot:b.mrc", "lot:c.mrc", "lot:d.mrc"]
    elsewhere = choose_sample(plan, step, [movie(name, "other") for name in "bcd"])
    assert elsewhere is not None
    assert identify_survey(plan, step, elsewhere) == identify_survey(plan, step, sample)
    assert choose_sample(plan, step, [movie("a", problem="cut")]) == []
