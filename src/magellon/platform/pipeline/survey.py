"""A survey: a gather over the first few usable items, on which steps of every item may depend.

Its sample is decided by names and states alone, never by who finished first: an undecided item makes all later ones wait.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from magellon.platform.pipeline.advance import Outputs, State, find_step_obstacle
from magellon.platform.pipeline.identity import identify_task
from magellon.platform.pipeline.inputs import Beside, build_beside, give_folders, root_output
from magellon.platform.pipeline.plan import SESSION, Plan, PlannedStep, Source

SampleInputs = list[list[Any]]
"""By name: [name, {field: [identity of the task that made it, output name]}].

Of the movie itself it is ["session", its identity, the movie].
"""


@dataclass(frozen=True)
class Candidate:
    """One item as a survey sees it."""

    name: str
    states: Mapping[str, State]
    identities: Mapping[str, str]
    outputs: Outputs
    movie: Mapping[str, Any] = field(default_factory=dict)
    movie_identity: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    """Why the movie cannot be processed."""


def choose_sample(plan: Plan, step: PlannedStep, candidates: Iterable[Candidate]) -> SampleInputs | None:
    """The sample from candidates sorted by name; None while an item that may belong to it is undecided."""
    sample: SampleInputs = []
    of_movies = any(source.step == SESSION for source in step.sources.values())
    for candidate in candidates:
        if len(sample) == step.sample:
            break
        if of_movies and candidate.problem is not None:
            continue
        obstacle = find_step_obstacle(plan, step, candidate.states, candidate.outputs)
        if obstacle is None:
            made = {name: _name_origin(candidate, source) for name, source in sorted(step.sources.items())}
            sample.append([candidate.name, made])
        elif obstacle.state == "waiting":
            return None
    return sample


def _name_origin(candidate: Candidate, source: Source) -> list[Any]:
    if source.step == SESSION:
        return [SESSION, dict(candidate.movie_identity), dict(candidate.movie)]
    return [candidate.identities[source.step], source.field]


def recall_sample(inputs: Any) -> tuple[SampleInputs, dict[str, list[str]]]:
    """The sample a gather was decided on, if it has one, and what it takes beside it, from what the ledger keeps of it."""
    if isinstance(inputs, Mapping):
        return list(inputs.get("items", ())), dict(inputs["beside"])
    return list(inputs or []), {}  # kept by an earlier version


def identify_survey(plan: Plan, step: PlannedStep, sample: SampleInputs, beside: Beside | None = None) -> str:
    """By what its inputs are; where a movie lies does not count."""
    items = [[name, {key: made[:2] for key, made in given.items()}] for name, given in sample]
    return identify_task(step, {"items": items, **give_folders(plan, step), **(beside or {})})


def build_survey_input(
    plan: Plan,
    step: PlannedStep,
    sample: SampleInputs,
    output: Callable[[str], Mapping[str, Any]],
    beside: Beside | None = None,
) -> dict[str, Any]:
    """The input of a survey; `output` is asked for a result by its identity, paths relative to the result's folder."""

    def root(category: str, key: str, identity: str) -> Mapping[str, Any]:
        return root_output(category, identity, output(identity))

    def find(name: str, identity: str, field: Any, movie: Any = None) -> Any:
        if identity == SESSION:
            return movie
        source = step.sources[name].step
        return root(plan.step(source).category, source, identity)[field]

    items = [{name: find(name, *made) for name, made in entry.items()} for _, entry in sample]
    given = {"items": items, **give_folders(plan, step), **build_beside(plan, step, beside or {}, root)}
    return dict(step.contract.Input.model_validate(given).model_dump(mode="json"))
