"""What a task is given: input records made of the outputs of the steps it needs, with rooted paths."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from magellon.contracts import CONTRACTS, SessionItem
from magellon.contracts.record import map_plain_paths
from magellon.platform.pipeline.plan import SESSION, Plan, PlannedStep, Source

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


Beside = Mapping[str, Sequence[str]]
"""Input of a gather beside its items > identity of the result it is from, and the name of the output, "" for all of it."""


def list_gather_inputs(
    plan: Plan, step: PlannedStep, items: Sequence[SettledItem], beside: Beside | None = None
) -> dict[str, Any]:
    """What a gather is made from: items by name, each with the identities of its results, and what there is beside them."""
    ordered = sorted(items, key=lambda item: item.name)
    inputs: dict[str, Any] = {name: list(origin) for name, origin in (beside or {}).items()}
    inputs.update(give_folders(plan, step))
    if step.contract.Item is None:
        keys = sorted(_representatives(plan).values())
        inputs["items"] = [
            [
                each.name,
                each.movie_identity,
                {key: each.completed[key] for key in keys if key in each.completed},
                list(each.held),
            ]
            for each in ordered
        ]
    else:
        inputs["items"] = [
            [each.name, {name: [each.completed[source.step], source.field] for name, source in sorted(step.sources.items())}]
            for each in ordered
            if is_usable(step, each)
        ]
    return inputs


def is_usable(step: PlannedStep, item: SettledItem) -> bool:
    """Whether an item has all that a gather takes of each."""
    return step.needs <= item.completed.keys()


def count_enough(step: PlannedStep, outputs: Iterable[Mapping[str, Any]]) -> int:
    """How much there is to gather, from the outputs that hold what is counted."""
    assert step.enough is not None
    field = step.sources[step.enough.field].field
    return sum(int(output[field]["count"]) for output in outputs)


def give_folders(plan: Plan, step: PlannedStep) -> dict[str, Any]:
    """The input `folders` of a gather that wants it."""
    return {"folders": list_folders(plan, step)} if "folders" in step.contract.Input.model_fields else {}


def list_folders(plan: Plan, step: PlannedStep) -> dict[str, str]:
    """Category > folder of the session in which its files appear."""
    taken = {plan.step(source.step).category: source.step for source in step.sources.values() if source.step != SESSION}
    return {**_representatives(plan), **taken, "movie": "movies", step.category: name_folder(step)}


def name_folder(step: PlannedStep) -> str:
    """Folder of the session in which a step's files appear; those of a gather of whole items lie in the session's folder."""
    return "" if step.gather and step.contract.Item is None else step.key


GetResult = Callable[[str, str, str], Mapping[str, Any]]
"""Output by category, step and identity, its paths rooted."""


def build_gather_input(
    plan: Plan, step: PlannedStep, items: Sequence[SettledItem], output: GetResult, beside: Beside | None = None
) -> dict[str, Any]:
    """The input of a gather."""
    ordered = sorted(items, key=lambda item: item.name)
    given: dict[str, Any] = {**build_beside(plan, step, beside or {}, output), **give_folders(plan, step)}
    if step.contract.Item is None:
        given["items"] = _gather_whole(plan, ordered, output)
    else:

        def find(source: Source, item: SettledItem) -> Any:
            return output(plan.step(source.step).category, source.step, item.completed[source.step])[source.field]

        given["items"] = [
            {name: find(source, item) for name, source in step.sources.items()} for item in ordered if is_usable(step, item)
        ]
    return dict(step.contract.Input.model_validate(given).model_dump(mode="json"))


def build_beside(plan: Plan, step: PlannedStep, beside: Beside, output: GetResult) -> dict[str, Any]:
    """What a gather is given beside its items."""
    given = {}
    for name, (identity, field) in beside.items():
        made_by = step if name in step.resumes else plan.step(step.beside[name].step)
        found = output(made_by.category, made_by.key, identity)
        given[name] = found[field] if field else found
    return given


def _gather_whole(plan: Plan, items: Sequence[SettledItem], output: GetResult) -> list[dict[str, Any]]:
    representatives = _representatives(plan)
    gathered = []
    for item in items:
        outputs = {
            category: output(category, key, item.completed[key])
            for category, key in representatives.items()
            if key in item.completed
        }
        gathered.append({"name": item.name, "movie": item.movie, "held": item.held, **outputs})
    return gathered
