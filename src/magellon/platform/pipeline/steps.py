"""Steps of a plan: what is done with one item, or with many together."""

from functools import cached_property
from typing import Any

from pydantic import Field

from magellon.contracts import CONTRACTS, Contract, Record
from magellon.platform.store.identity import write_canonical

SESSION = "session"
"""In the place of a step, where an input comes from the session itself."""
MOVIE = "movie"
"""The kind of item that becomes a micrograph."""


class Source(Record):
    """Where an input comes from: an output field of a step above, or `session.NAME`."""

    step: str
    field: str
    """Empty: the whole output."""


class Enough(Record):
    """How much a gather wants that counts what it takes."""

    field: str
    """Of an item; its `count` is counted."""
    at_least: int = 100
    live_at_least: int = 2000
    """In a session that still grows."""
    live_again: float = 1.5
    """Times what there was the last time, to do it again while the session grows."""


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
    """Of a gather: those of each item."""
    beside: dict[str, Source] = Field(default_factory=dict)
    """Of a gather: where inputs beside its items come from, which are other gathers."""
    resumes: dict[str, str] = Field(default_factory=dict)
    """Of a gather: inputs that are outputs of its own earlier run, while a session grows."""
    gather: bool = False
    sample: int | None = None
    """Of a survey: how many items it takes."""
    enough: Enough | None = None
    kind: str = MOVIE
    """Of the items it works on: what of a session its inputs go back to."""
    filtered: bool = False
    """Listed below the filter."""

    @property
    def contract(self) -> Contract[Any, Any]:
        return CONTRACTS[self.category]

    @cached_property
    def needs(self) -> set[str]:
        """Keys of the steps whose results of an item it waits for."""
        return {source.step for source in self.sources.values()} - {SESSION}

    @cached_property
    def waits(self) -> set[str]:
        """Keys of the gathers it takes something from beside its items."""
        return {source.step for source in self.beside.values()}

    @cached_property
    def sources_by_name(self) -> tuple[tuple[str, Source], ...]:
        return tuple(sorted(self.sources.items()))

    @cached_property
    def identity_frame(self) -> tuple[bytes, bytes]:
        """What stands before and after the inputs in the canonical JSON by which its tasks are known."""
        backend, category = write_canonical({"backend": self.backend}), write_canonical({"category": self.category})
        params = write_canonical({"params": self.identity_params, "version": self.version})
        return backend[:-1] + b"," + category[1:-1] + b',"inputs":', b"," + params[1:]
