"""A plan: a recipe validated against contracts and installed backends, wired and complete, before anything runs."""

import types
import typing
from collections.abc import Callable, Mapping, Set
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from magellon.contracts import CONTRACTS, Contract, Movie, Record
from magellon.contracts.description import Description
from magellon.errors import BadInput
from magellon.platform.pipeline.filter import Thresholds
from magellon.platform.pipeline.parameters import fill_parameters
from magellon.platform.pipeline.recipe import FILTER_CATEGORY, Recipe, StepRecipe

SESSION = "session"


class Source(Record):
    """Where an input comes from: an output field of a step above, or `session.movie`."""

    step: str
    field: str


class PlannedStep(Record):
    """One step, ready to be worked through."""

    key: str
    category: str
    backend: str
    version: int
    params: dict[str, Any]
    """Complete; file names are rooted paths."""
    identity_params: dict[str, Any]
    """The same with each file name replaced by what identifies the file."""
    sources: dict[str, Source]
    gather: bool = False
    sample: int | None = None
    """Of a survey: how many items it takes."""
    filtered: bool = False
    """Listed below the filter."""

    @property
    def contract(self) -> Contract[Any, Any]:
        return CONTRACTS[self.category]

    @cached_property
    def needs(self) -> set[str]:
        """Keys of the steps it waits for."""
        return {source.step for source in self.sources.values()} - {SESSION}


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
    if not any(not step.gather for step in steps.values()):
        raise BadInput("the recipe has no step that works on movies or micrographs")
    return Plan(steps=_leave_out_idle_surveys(tuple(steps.values())), filter=chosen)


def _leave_out_idle_surveys(steps: tuple[PlannedStep, ...]) -> tuple[PlannedStep, ...]:
    """Without surveys that no step needs, as what they would tell is given by parameters."""
    needed = {key for step in steps for key in step.needs}
    return tuple(step for step in steps if step.sample is None or step.key in needed)


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
        found[name] = wanted or _last_of(category, above)
    return PlannedFilter(key=key, thresholds=thresholds, **found)


def _last_of(category: str, above: Mapping[str, PlannedStep]) -> str | None:
    keys = [key for key, step in above.items() if step.category == category]
    return keys[-1] if keys else None


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
    return PlannedStep(
        key=key,
        category=category,
        backend=description.name,
        version=description.version,
        params=params,
        identity_params=fill_parameters(description, step.params, key, visit(placement.identify)),
        sources=_wire_step(key, contract, step, above, unused),
        gather=contract.gather,
        sample=contract.sample,
        filtered=filtered and (not contract.gather or contract.sample is not None),
    )


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


def _wire_step(
    key: str, contract: Contract[Any, Any], step: StepRecipe, above: Mapping[str, PlannedStep], unused: Set[str]
) -> dict[str, Source]:
    """Where each input comes from, without those `unused`: a parameter that has a value overrules an input of its name."""
    if contract.gather and contract.Item is None:
        return {}
    inputs = step.inputs
    fields = (contract.Item or contract.Input).model_fields
    for name in inputs:
        if name not in fields:
            raise BadInput(f"{key}.inputs.{name}: {contract.category} has no such input (it has {', '.join(fields)})")
    sources = {}
    for name, field in fields.items():
        if name in unused and not field.is_required():
            continue
        if name in inputs:
            source = _find_source(f"{key}.inputs.{name}", inputs[name], above) if inputs[name] else None
        else:
            source = _find_usual_source(contract.sources.get(name, ""), above)
        if source is not None:
            _check_types(f"{key}.inputs.{name}", field.annotation, source, above)
            _check_order(f"{key}.inputs.{name}", contract, source, above)
            sources[name] = source
        elif field.is_required():
            wanted = contract.sources.get(name, "").split(".")[0]
            raise BadInput(f"step {key} needs {name}, which a {wanted} step above it would make")
    return sources


def _find_source(where: str, text: str, above: Mapping[str, PlannedStep]) -> Source:
    step, _, field = text.partition(".")
    if step == SESSION and field == "movie":
        return Source(step=step, field=field)
    if step not in above:
        raise BadInput(f"{where} = {text!r}: no step {step!r} above")
    if field not in above[step].contract.Output.model_fields:
        raise BadInput(f"{where} = {text!r}: {above[step].category} has no output {field!r}")
    return Source(step=step, field=field)


def _find_usual_source(usual: str, above: Mapping[str, PlannedStep]) -> Source | None:
    category, _, field = usual.partition(".")
    if category == SESSION:
        return Source(step=SESSION, field=field)
    step = _last_of(category, above)
    return Source(step=step, field=field) if step else None


def _check_types(where: str, wanted: Any, source: Source, above: Mapping[str, PlannedStep]) -> None:
    given: Any = Movie
    if source.step != SESSION:
        given = above[source.step].contract.Output.model_fields[source.field].annotation
    if _kinds(given) - _kinds(wanted):
        raise BadInput(f"{where} = '{source.step}.{source.field}': is {_name(given)}, must be {_name(wanted)}")


def _check_order(where: str, contract: Contract[Any, Any], source: Source, above: Mapping[str, PlannedStep]) -> None:
    """Single items may wait for a survey, and a survey for single items; nothing waits for a gather of all."""
    if source.step == SESSION or not above[source.step].gather:
        return
    if above[source.step].sample is None or contract.gather:
        raise BadInput(f"{where} = '{source.step}.{source.field}': {source.step} comes after it, as it gathers results")


def _kinds(annotation: Any) -> set[Any]:
    """The types of a field, without None, units and limits."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return {kind for member in typing.get_args(annotation) for kind in _kinds(member)} - {types.NoneType}
    if typing.get_origin(annotation) is typing.Annotated:
        return _kinds(typing.get_args(annotation)[0])
    return {annotation}


def _name(annotation: Any) -> str:
    return " or ".join(sorted(kind.__name__ for kind in _kinds(annotation)))
