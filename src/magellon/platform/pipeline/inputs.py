"""What a task is given: input records made of the outputs of the steps it needs, with rooted paths."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from magellon.contracts import CONTRACTS, SessionItem
from magellon.contracts.record import map_plain_paths
from magellon.platform.pipeline.identity import identify_task
from magellon.platform.pipeline.plan import SESSION, Plan, PlannedStep

GetOutput = Callable[[str], Mapping[str, Any]]
"""Output by step, its paths rooted."""


def root_output(category: str, identity: str, output: Mapping[str, Any]) -> dict[str, Any]:
    """An output as it lies in its result's folder, its paths rooted in the home."""
    folder = f"home:results/{identity[:2]}/{identity}"
    rooted: dict[str, Any] = map_plain_paths(CONTRACTS[category].Output, output, lambda path: f"{folder}/{path}")
    return rooted


def build_input(step: PlannedStep, movie: Mapping[str, Any], output: GetOutput) -> dict[str, Any]:
    """The input of one item's task, as plain data; that it fits is known from the plan, and checked where it is computed."""
    return {
        name: dict(movie) if source.step == SESSION else output(source.step)[source.field]
        for name, source in step.sources.items()
    }


@dataclass(frozen=True)
class SettledItem:
    """One item when nothing is left to do for it."""

    name: str
    movie: Mapping[str, Any]
    movie_identity: Mapping[str, Any]
    completed: Mapping[str, str]
    """Step > identity of its result."""
    held: tuple[str, ...] = ()


def _representatives(plan: Plan) -> dict[str, str]:
    """Category > the step that speaks for it in session files: the last one of its category."""
    return {step.category: step.key for step in plan.item_steps if step.category in SessionItem.model_fields}


def list_gather_inputs(plan: Plan, items: Sequence[SettledItem]) -> list[Any]:
    """What a gather is made from: items by name, each with the identities of its results."""
    keys = sorted(_representatives(plan).values())
    return [
        [item.name, item.movie_identity, {key: item.completed[key] for key in keys if key in item.completed}, list(item.held)]
        for item in sorted(items, key=lambda item: item.name)
    ]


def identify_gather(plan: Plan, step: PlannedStep, inputs: Sequence[Any]) -> str:
    """Identity of a gather: also of the folders it writes into its files."""
    return identify_task(step, {"items": inputs, "folders": list_folders(plan)})


def list_folders(plan: Plan) -> dict[str, str]:
    """Category > folder of the session in which its files appear."""
    return {**_representatives(plan), "movie": "movies", **{step.category: "" for step in plan.gathers}}


def build_gather_input(
    plan: Plan, step: PlannedStep, items: Sequence[SettledItem], output: Callable[[str, str, str], Mapping[str, Any]]
) -> dict[str, Any]:
    """The input of a gather; `output` is asked for (category, step, identity)."""
    representatives = _representatives(plan)
    gathered = []
    for item in sorted(items, key=lambda item: item.name):
        outputs = {
            category: output(category, key, item.completed[key])
            for category, key in representatives.items()
            if key in item.completed
        }
        gathered.append({"name": item.name, "movie": item.movie, "held": item.held, **outputs})
    return dict(step.contract.Input.model_validate({"items": gathered, "folders": list_folders(plan)}).model_dump(mode="json"))
