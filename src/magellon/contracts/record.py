"""The base of everything that crosses a boundary: an immutable, strictly validated record.

One rule makes transport simple: **every `Path` inside a record is a file** (or folder) that the platform may have to map
from one machine to another, and nothing else is a `Path`. `map_paths` is that mapping.
"""

from collections.abc import Callable, Iterator
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
