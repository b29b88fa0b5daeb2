"""The base of everything that crosses a boundary: an immutable, strictly validated record.

One rule makes transport simple: **every `Path` inside a record is a file** (or folder) that the platform may have to map
from one machine to another, and nothing else is a `Path`. `map_paths` is that mapping.
"""

import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Immutable; unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def map_paths(self, function: Callable[[Path], Path]) -> Self:
        """The same record with `function` applied to each path in it, however deeply nested."""
        return self.model_validate(_map(self, function))

    def paths(self) -> Iterator[Path]:
        """Each path in the record, depth first in field order."""
        return _walk(self)


def _map(value: Any, function: Callable[[Path], Path]) -> Any:
    if isinstance(value, Path):
        return function(value)
    if isinstance(value, Record):
        return {name: _map(getattr(value, name), function) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {key: _map(item, function) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_map(item, function) for item in value]
    return value


def _walk(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, Record):
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _walk(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _walk(item)


_PATH = "path"
"""Of a place that holds a path; other places are mappings by field name, or a tuple with the one place of all members."""


def map_plain_paths(record: type[Record], value: Any, function: Callable[[str], str]) -> Any:
    """Plain data of a record with `function` applied to each path in it, without validating anything: quick."""
    return _map_plain(find_places(record), value, function)


@cache
def find_places(annotation: Any) -> Any:
    """Where paths are in the plain data of a type; None where there are none."""
    origin, members = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return find_places(members[0])
    if origin in (types.UnionType, typing.Union):
        return next((place for member in members if (place := find_places(member)) is not None), None)
    if origin in (tuple, list, dict):
        inner = find_places(members[-1] if origin is dict else members[0]) if members else None
        return None if inner is None else (inner,)
    if not isinstance(annotation, type):
        return None
    if issubclass(annotation, Path):
        return _PATH
    if issubclass(annotation, Record):
        places = {name: find_places(typing.cast(Any, field.annotation)) for name, field in annotation.model_fields.items()}
        return {name: place for name, place in places.items() if place is not None} or None
    return None


def _map_plain(places: Any, value: Any, function: Callable[[str], str]) -> Any:
    if places is None or value is None:
        return value
    if places is _PATH:
        return function(value)
    if isinstance(places, tuple):
        if isinstance(value, Mapping):
            return {key: _map_plain(places[0], item, function) for key, item in value.items()}
        return [_map_plain(places[0], item, function) for item in value]
    return {key: _map_plain(places.get(key), item, function) for key, item in value.items()}
