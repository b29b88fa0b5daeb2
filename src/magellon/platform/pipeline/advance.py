"""Which result leads to which task: pure functions from what is known of one item to the states of its tasks.

waiting > pending > running > completed | failed
held: the filter holds the micrograph back      skipped: a step it needs did not complete
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from magellon.platform.pipeline.filter import judge_micrograph
from magellon.platform.pipeline.plan import SESSION, Plan, PlannedStep

OPEN = frozenset({"waiting", "pending", "running"})
"""States of tasks that still have something to do or to wait for."""
STATES = ("waiting", "pending", "running", "completed", "failed", "held", "skipped", "cancelled")

Outputs = Callable[[str], Mapping[str, Any]]
"""Plain data of a completed step's output, by step."""


@dataclass(frozen=True)
class State:
    """State of one task and, unless it goes well, why."""

    state: str
    reason: str | None = None


def judge_item(plan: Plan, states: Mapping[str, State], outputs: Outputs) -> State:
    """What the filter says to one item: `completed` (it may pass), `held`, `skipped` or `waiting`."""
    if plan.filter is None:
        return State("completed")
    blocked = _find_obstacle(plan.filter.needs, states)
    if blocked is not None:
        return blocked
    ctf = outputs(plan.filter.ctf) if plan.filter.ctf else None
    motion = outputs(plan.filter.motion) if plan.filter.motion else None
    reasons = judge_micrograph(plan.filter.thresholds, ctf, motion)
    return State("held", "; ".join(reasons)) if reasons else State("completed")


def advance_item(plan: Plan, problem: str | None, states: Mapping[str, State], outputs: Outputs) -> dict[str, State]:
    """New states of an item's tasks, those that change.

    Asked again with the same knowledge it changes nothing; asked after a threshold moved, it holds back or lets go.
    A running task is left to its end. `states` also hold those of the surveys, which do not change here.
    """
    now = dict(states)
    verdict: State | None = None
    surveys = {step.key for step in plan.surveys}
    for step in plan.item_steps:
        if step.key not in states:
            continue  # of items of another kind
        if step.filtered and verdict is None:
            verdict = judge_item(plan, now, outputs)
        now[step.key] = _advance_step(step, problem, now, verdict if step.filtered else None)
        if now[step.key].state == "skipped":
            now[step.key] = _advise(step, surveys, now)
    return {key: state for key, state in now.items() if state != states[key]}


def _advise(step: PlannedStep, surveys: set[str], now: Mapping[str, State]) -> State:
    """Where only a survey stands in the way, a parameter does instead of it."""
    for name, source in step.sources.items():
        if source.step in surveys and now[source.step].state in ("failed", "skipped"):
            others = _find_obstacle(step.needs - {source.step}, now)
            if others is None or others.state == "waiting":
                return State("skipped", f"{source.step} {now[source.step].state}: set {step.key}.{name}")
    return now[step.key]


def find_step_obstacle(plan: Plan, step: PlannedStep, states: Mapping[str, State], outputs: Outputs) -> State | None:
    """What keeps an item from a step: `waiting`, `held` or `skipped`; None when the step may take it."""
    obstacle = _find_obstacle(step.needs, states)
    if obstacle is None and step.filtered:
        verdict = judge_item(plan, states, outputs)
        obstacle = verdict if verdict.state != "completed" else None
    return obstacle


def _advance_step(step: PlannedStep, problem: str | None, now: Mapping[str, State], verdict: State | None) -> State:
    current = now[step.key]
    if current.state in ("running", "failed", "cancelled"):
        return current
    if current.state != "completed" and problem is not None and any(source.step == SESSION for source in step.sources.values()):
        return State("failed", problem)
    obstacle = _find_obstacle(step.needs, now)
    if verdict is not None and verdict.state != "completed" and (obstacle is None or obstacle.state == "waiting"):
        obstacle = verdict  # may be known while a survey is still awaited
    if obstacle is not None:
        return obstacle
    return current if current.state in ("pending", "completed") else State("pending")


def _find_obstacle(needs: set[str], states: Mapping[str, State]) -> State | None:
    """The worst of what stands in the way; None when everything needed is completed."""
    for key in sorted(needs):
        state = states[key]
        if state.state in ("failed", "cancelled"):
            return State("skipped", f"{key} {state.state}")
        if state.state == "skipped":
            return state
    for key in sorted(needs):
        if states[key].state == "held":
            return states[key]
    return None if all(states[key].state == "completed" for key in needs) else State("waiting")


def is_settled(states: Mapping[str, State]) -> bool:
    """Whether nothing is left to do for an item."""
    return not any(state.state in OPEN for state in states.values())
