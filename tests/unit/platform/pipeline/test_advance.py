"""Which result leads to which task: the same knowledge gives the same states, in whatever order it came."""

from typing import Any

from magellon.platform.pipeline.advance import State, advance_item, is_settled
from magellon.platform.pipeline.filter import Thresholds
from magellon.platform.pipeline.plan import Plan

MOTION, CTF, FFT, PICKING, EXTRACTION = (
    "motion_correction",
    "ctf_estimation",
    "fft",
    "particle_picking",
    "particle_extraction",
)
GOOD: dict[str, Any] = {
    CTF: {"ctf": {"score": 0.5, "resolution": 4.0, "defocus_u": 12000.0, "defocus_v": 10000.0}},
    MOTION: {"total_motion": 20.0},
}
BLURRED = {**GOOD, CTF: {"ctf": {**GOOD[CTF]["ctf"], "resolution": 12.0}}}


def states_of(plan: Plan, **known: str) -> dict[str, State]:
    return {step.key: State(known.get(step.key, "waiting")) for step in plan.item_steps}


def names(changes: dict[str, State]) -> dict[str, str]:
    return {key: state.state for key, state in changes.items()}


def with_threshold(plan: Plan, resolution: float) -> Plan:
    assert plan.filter is not None
    thresholds = Thresholds(max_resolution=resolution)
    return plan.model_copy(update={"filter": plan.filter.model_copy(update={"thresholds": thresholds})})


def test_steps_start_when_what_they_need_is_completed(plan: Plan) -> None:
    output = GOOD.__getitem__
    assert names(advance_item(plan, None, states_of(plan), output)) == {MOTION: "pending"}
    assert names(advance_item(plan, None, states_of(plan, motion_correction="completed"), output)) == {
        CTF: "pending",
        FFT: "pending",
    }
    both = states_of(plan, motion_correction="completed", ctf_estimation="completed", fft="running")
    assert names(advance_item(plan, None, both, output)) == {PICKING: "pending"}


def test_nothing_changes_when_asked_again(plan: Plan) -> None:
    states = states_of(plan, motion_correction="completed", ctf_estimation="completed")
    states = {**states, **advance_item(plan, None, states, BLURRED.__getitem__)}
    assert not advance_item(plan, None, states, BLURRED.__getitem__)


def test_what_failed_stops_its_descendants_only(plan: Plan) -> None:
    failed = states_of(plan, motion_correction="completed", ctf_estimation="failed", fft="pending")
    changes = advance_item(plan, None, failed, GOOD.__getitem__)
    assert changes[PICKING] == changes[EXTRACTION] == State("skipped", "ctf_estimation failed")
    assert FFT not in changes


def test_a_movie_with_a_problem_fails_before_it_runs(plan: Plan) -> None:
    changes = advance_item(plan, "a.mrc: truncated", states_of(plan), GOOD.__getitem__)
    assert changes[MOTION] == State("failed", "a.mrc: truncated")
    assert {state.state for key, state in changes.items() if key != MOTION} == {"skipped"}
    assert is_settled(changes)


def test_a_result_outlives_its_movie(plan: Plan) -> None:
    done = states_of(plan, **dict.fromkeys((MOTION, CTF, FFT, PICKING, EXTRACTION), "completed"))
    assert not advance_item(plan, "a: the movie is gone", done, GOOD.__getitem__)


def test_the_filter_holds_with_a_reason_and_lets_go_when_relaxed(plan: Plan) -> None:
    states = states_of(plan, motion_correction="completed", ctf_estimation="completed", fft="completed")
    states.update(advance_item(plan, None, states, BLURRED.__getitem__))
    reason = "CTF fit resolution 12 Å, at most 8 Å wanted"
    assert states[PICKING] == states[EXTRACTION] == State("held", reason)
    assert is_settled(states)
    assert names(advance_item(with_threshold(plan, 15), None, states, BLURRED.__getitem__)) == {
        PICKING: "pending",
        EXTRACTION: "waiting",
    }


def test_a_tightened_filter_holds_what_was_completed(plan: Plan) -> None:
    done = states_of(plan, **dict.fromkeys((MOTION, CTF, FFT, PICKING, EXTRACTION), "completed"))
    changes = advance_item(with_threshold(plan, 3), None, done, GOOD.__getitem__)
    assert names(changes) == {PICKING: "held", EXTRACTION: "held"}


def test_a_running_task_is_left_to_its_end(plan: Plan) -> None:
    states = states_of(plan, motion_correction="completed", ctf_estimation="completed", particle_picking="running")
    changes = advance_item(plan, None, states, BLURRED.__getitem__)
    assert PICKING not in changes
