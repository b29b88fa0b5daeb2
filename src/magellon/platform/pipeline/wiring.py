"""Where the inputs of a step come from: as its contract says, or as the recipe does; checked before anything runs."""

import types
import typing
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

from pydantic.fields import FieldInfo

from magellon.contracts import CONTRACTS, SESSION_SOURCES, Contract
from magellon.errors import BadInput
from magellon.platform.pipeline.steps import MOVIE, SESSION, PlannedStep, Source

GIVEN = frozenset({"items", "folders"})
"""Inputs of a gather that the platform makes."""


@dataclass(frozen=True)
class Wiring:
    """A step that is to be wired."""

    key: str
    contract: Contract[Any, Any]
    survey: bool
    """A gather over a sample."""
    inputs: Mapping[str, str]
    """What the recipe says."""
    unused: Set[str]
    """Inputs that are not wanted unless they must be: a parameter that has a value overrules an input of its name."""
    above: Mapping[str, PlannedStep]


@dataclass(frozen=True)
class Wires:
    """What came of it; see `PlannedStep`."""

    sources: dict[str, Source]
    beside: dict[str, Source]
    resumes: dict[str, str]
    kind: str = MOVIE


def wire_step(step: Wiring) -> Wires:
    """Wire all inputs of a step.

    Raises:
        BadInput: an input that is needed and not made by a step above, or cannot be what the recipe says.
    """
    contract = step.contract
    beside = _list_beside(contract)
    if contract.gather and contract.Item is None:
        known = _list_whole(step)
        return Wires({}, {name: source for name, source in known.items() if name not in step.unused}, {})
    fields = dict((contract.Item or contract.Input).model_fields)
    for name in step.inputs:
        if name not in fields and name not in beside:
            known_names = ", ".join([*fields, *beside])
            raise BadInput(f"{step.key}.inputs.{name}: {contract.category} has no such input (it has {known_names})")
    resumes = {
        name: contract.sources[name].partition(".")[2]
        for name in beside
        if name not in step.inputs and contract.sources.get(name, "").partition(".")[0] == contract.category
    }
    sources = _wire_fields(step, fields, beside=False)
    others = {name: field for name, field in beside.items() if name not in resumes}
    return Wires(sources, _wire_fields(step, others, beside=True), resumes, _find_kind(step, sources))


def find_last(category: str, above: Mapping[str, PlannedStep]) -> str | None:
    """The last step of a category."""
    keys = [key for key, step in above.items() if step.category == category]
    return keys[-1] if keys else None


def _list_beside(contract: Contract[Any, Any]) -> dict[str, FieldInfo]:
    """Inputs of a gather beside its items."""
    fields = contract.Input.model_fields
    return {name: field for name, field in fields.items() if name not in GIVEN} if contract.Item is not None else {}


def _list_whole(step: Wiring) -> dict[str, Source]:
    """Gathers of whole items take outputs of gathers above under the names of their categories, as they are now."""
    found = {}
    for name in step.contract.Input.model_fields:
        keys = [key for key, other in step.above.items() if other.category == name and other.gather and other.sample is None]
        if name in CONTRACTS and keys:
            found[name] = Source(step=keys[-1], field="")
    return found


def _wire_fields(step: Wiring, fields: Mapping[str, FieldInfo], beside: bool) -> dict[str, Source]:
    sources = {}
    for name, field in fields.items():
        if name in step.unused and not field.is_required():
            continue
        where = f"{step.key}.inputs.{name}"
        usual = step.contract.sources.get(name, "")
        if name in step.inputs:
            source = _find_source(where, step.inputs[name], step.above) if step.inputs[name] else None
        else:
            source = _find_usual_source(usual, step.above)
        if source is not None:
            _check_types(where, field.annotation, source, step.above)
            _check_order(where, step, source, beside)
            sources[name] = source
        elif field.is_required():
            raise BadInput(f"step {step.key} needs {name}, which a {usual.split('.')[0]} step above it would make")
    return sources


def _find_source(where: str, text: str, above: Mapping[str, PlannedStep]) -> Source:
    step, _, field = text.partition(".")
    if step == SESSION:
        if field not in SESSION_SOURCES:
            raise BadInput(f"{where} = {text!r}: a session has no {field!r} (it has {', '.join(SESSION_SOURCES)})")
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
    step = find_last(category, above)
    return Source(step=step, field=field) if step else None


def _check_types(where: str, wanted: Any, source: Source, above: Mapping[str, PlannedStep]) -> None:
    if source.step == SESSION:
        given: Any = SESSION_SOURCES[source.field]
    else:
        given = above[source.step].contract.Output.model_fields[source.field].annotation
    if _kinds(given) - _kinds(wanted):
        raise BadInput(f"{where} = '{source.step}.{source.field}': is {_name(given)}, must be {_name(wanted)}")


def _check_order(where: str, step: Wiring, source: Source, beside: bool) -> None:
    """Single items may wait for a survey, and a survey for single items and surveys; only a gather of all waits for one."""
    from_gather = source.step != SESSION and step.above[source.step].gather
    text = f"{where} = '{source.step}.{source.field}'"
    if source.step != SESSION and step.contract.category in step.above[source.step].contract.withheld_from:
        other = step.above[source.step].category
        raise BadInput(f"{text}: {step.contract.category} takes nothing of {other}, which alters what it measures")
    if beside and not from_gather:
        raise BadInput(f"{text}: is made of each item, must be made of many together")
    if not from_gather:
        return
    of_all = step.above[source.step].sample is None
    if of_all and (step.survey or not step.contract.gather):
        hint = (
            f"; `sample` in [steps.{source.step}] lets it take the first few" if step.above[source.step].contract.Item else ""
        )
        raise BadInput(f"{text}: {source.step} comes after it, as it gathers results{hint}")
    if step.contract.gather and not beside:
        raise BadInput(f"{text}: {source.step} comes after it, as it gathers results")


def _find_kind(step: Wiring, sources: Mapping[str, Source]) -> str:
    kinds = sorted(set(_list_kinds(step.above, sources)))
    if len(kinds) > 1:
        raise BadInput(f"step {step.key}: its inputs belong to different things: {' and '.join(kinds)}")
    return kinds[0] if kinds else MOVIE


def _list_kinds(above: Mapping[str, PlannedStep], sources: Mapping[str, Source]) -> Iterator[str]:
    for source in sources.values():
        if source.step == SESSION:
            yield source.field
        elif not above[source.step].gather:
            yield above[source.step].kind


def _kinds(annotation: Any) -> set[Any]:
    """The types of a field, without None, units and limits."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        return {kind for member in typing.get_args(annotation) for kind in _kinds(member)} - {types.NoneType}
    if typing.get_origin(annotation) is typing.Annotated:
        return _kinds(typing.get_args(annotation)[0])
    return {annotation}


def _name(annotation: Any) -> str:
    return " or ".join(sorted(kind.__name__ for kind in _kinds(annotation)))
