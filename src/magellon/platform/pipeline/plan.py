"""A plan: a recipe validated against contracts and installed backends, wired and complete, before anything runs."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from magellon.contracts import CONTRACTS, Contract, Record
from magellon.contracts.description import Description
from magellon.errors import BadInput
from magellon.platform.pipeline.filter import Thresholds
from magellon.platform.pipeline.parameters import fill_parameters
from magellon.platform.pipeline.recipe import FILTER_CATEGORY, Recipe, StepRecipe
from magellon.platform.pipeline.steps import MOVIE, SESSION, Enough, PlannedStep, Source
from magellon.platform.pipeline.wiring import Wiring, find_last, wire_step

__all__ = ["MOVIE", "SESSION", "Enough", "Plan", "PlannedFilter", "PlannedStep", "Source", "make_plan"]


class PlannedFilter(Record):
    """The filter and the steps whose results it judges."""

    key: str
    thresholds: Thresholds
    ctf: str | None = None
    motion: str | None = None

    @property
    def needs(self) -> set[str]:
        return {step for step in (self.ctf, self.motion) if step}


class Plan(Record):
    """What is done with each item of a session, and with all of them together."""

    steps: tuple[PlannedStep, ...]
    filter: PlannedFilter | None = None

    @cached_property
    def item_steps(self) -> tuple[PlannedStep, ...]:
        return tuple(step for step in self.steps if not step.gather)

    @cached_property
    def _by_kind(self) -> dict[str, tuple[PlannedStep, ...]]:
        kinds = {step.kind for step in self.item_steps}
        return {kind: tuple(step for step in self.item_steps if step.kind == kind) for kind in kinds}

    def steps_of(self, kind: str) -> tuple[PlannedStep, ...]:
        """What is done with single items of a kind."""
        return self._by_kind.get(kind, ())

    @cached_property
    def gathers(self) -> tuple[PlannedStep, ...]:
        """Those that take all items, at the end."""
        return tuple(step for step in self.steps if step.gather and step.sample is None)

    @cached_property
    def surveys(self) -> tuple[PlannedStep, ...]:
        """Those that take a sample, on which steps of all items depend."""
        return tuple(step for step in self.steps if step.sample is not None)

    def step(self, key: str) -> PlannedStep:
        return self._by_key[key]

    @cached_property
    def _by_key(self) -> dict[str, PlannedStep]:
        return {step.key: step for step in self.steps}


class Placement(Protocol):
    """How files named by parameters are expressed in tasks and in identities."""

    def express(self, path: Path) -> str: ...
    def identify(self, path: Path) -> str: ...


class AsTheyAre:
    """For validation only: files stay absolute paths."""

    def express(self, path: Path) -> str:
        return str(path)

    identify = express


def make_plan(recipe: Recipe, catalogue: Mapping[str, Description], placement: Placement | None = None) -> Plan:
    """Validate a recipe and write out all it leaves to defaults.

    Raises:
        BadInput: an unknown category, backend or parameter, an impossible value or wiring; names the step and what is wrong.
    """
    steps: dict[str, PlannedStep] = {}
    chosen: PlannedFilter | None = None
    for key, step in recipe.steps.items():
        if not key.replace("_", "").replace("-", "").isalnum() or key in (SESSION, "movies"):
            raise BadInput(f"step {key!r}: not a name for a step")
        if (step.category or key) == FILTER_CATEGORY:
            if chosen is not None:
                raise BadInput(f"step {key}: a recipe has one filter, this has {chosen.key} too")
            chosen = _plan_filter(key, step, steps)
        else:
            steps[key] = _plan_step(key, step, steps, catalogue, chosen is not None, placement or AsTheyAre())
    if not any(not step.gather and step.kind == MOVIE for step in steps.values()):
        raise BadInput("the recipe has no step that works on movies or micrographs")
    return Plan(steps=_leave_out_idle_surveys(tuple(steps.values())), filter=chosen)


def _leave_out_idle_surveys(steps: tuple[PlannedStep, ...]) -> tuple[PlannedStep, ...]:
    """Without surveys that no step needs, as what they would tell is given by parameters."""
    kept: list[PlannedStep] = []
    for step in reversed(steps):
        needed = any(step.key in other.needs or step.key in other.waits for other in kept)
        if step.contract.sample is None or needed:
            kept.insert(0, step)
    return tuple(kept)


def _plan_filter(key: str, step: StepRecipe, above: Mapping[str, PlannedStep]) -> PlannedFilter:
    try:
        thresholds = Thresholds.model_validate(step.params)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{key}.{'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}") from error
    judged = {"ctf": "ctf_estimation", "motion": "motion_correction"}
    found: dict[str, str | None] = {}
    for name, category in judged.items():
        wanted = step.inputs.get(name)
        if wanted and (wanted not in above or above[wanted].category != category):
            raise BadInput(f"{key}.inputs.{name} = {wanted!r}: no {category} step of that name above the filter")
        found[name] = wanted or find_last(category, above)
    return PlannedFilter(key=key, thresholds=thresholds, **found)


def _plan_step(
    key: str,
    step: StepRecipe,
    above: Mapping[str, PlannedStep],
    catalogue: Mapping[str, Description],
    filtered: bool,
    placement: Placement,
) -> PlannedStep:
    category = step.category or key
    if category not in CONTRACTS:
        raise BadInput(f"step {key}: no category {category!r} (there are {', '.join(CONTRACTS)})")
    if CONTRACTS[category].on_demand:
        raise BadInput(f"step {key}: {category} is run when asked for and is no step of a recipe")
    description = _choose_backend(key, category, step.backend, catalogue)

    def visit(handle: Callable[[Path], str]) -> Callable[[str], str]:
        def visit_path(text: str) -> str:
            path = Path(text).expanduser().resolve()
            if not path.exists():
                raise BadInput(f"step {key}: {text}: {path} is not there")
            return handle(path)

        return visit_path

    contract = CONTRACTS[category]
    params = fill_parameters(description, step.params, key, visit(placement.express))
    unused = {name for name, value in params.items() if value is not None} | set(description.ignores)
    sample = _plan_sample(key, contract, step)
    wires = wire_step(Wiring(key, contract, sample is not None, step.inputs, unused, above))
    return PlannedStep(
        key=key,
        category=category,
        backend=description.name,
        version=description.version,
        params=params,
        identity_params=fill_parameters(description, step.params, key, visit(placement.identify)),
        sources=wires.sources,
        beside=wires.beside,
        resumes=wires.resumes,
        gather=contract.gather,
        sample=sample,
        enough=_plan_enough(key, contract, step),
        kind=wires.kind,
        filtered=filtered and wires.kind == MOVIE and (not contract.gather or sample is not None),
    )


def _plan_sample(key: str, contract: Contract[Any, Any], step: StepRecipe) -> int | None:
    if step.sample is not None and contract.Item is None:
        raise BadInput(f"{key}.sample = {step.sample}: {contract.category} does not take several items at once")
    return step.sample or contract.sample


def _plan_enough(key: str, contract: Contract[Any, Any], step: StepRecipe) -> Enough | None:
    given = {name: getattr(step, name) for name in ("at_least", "live_at_least", "live_again")}
    given = {name: value for name, value in given.items() if value is not None}
    if contract.counted is None:
        if given:
            raise BadInput(f"{key}.{next(iter(given))}: {contract.category} counts nothing")
        return None
    return Enough(field=contract.counted, **given)


def _choose_backend(key: str, category: str, name: str | None, catalogue: Mapping[str, Description]) -> Description:
    of_category = {d.name: d for d in catalogue.values() if d.category == category}
    usable = [each.name for each in of_category.values() if not each.error]
    if name is None and len(usable or of_category) == 1:
        name = (usable or list(of_category))[0]
    if name not in of_category:
        there = ", ".join(of_category) or "none"
        what = f"no backend {category}/{name} is installed" if name else f"several backends of {category}, choose one"
        raise BadInput(f"step {key}: {what} (there is {there})")
    description = of_category[name]
    if description.error:
        raise BadInput(f"step {key}: {description.key} cannot be used: {description.error}")
    return description
