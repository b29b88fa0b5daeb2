"""The children of one slot: one for each environment whose backends it runs, of which one works at a time."""

import os
import sys
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from magellon.platform.pipeline.catalogue import map_pythons
from magellon.platform.store.environments import isolate_variables, list_environments, mark_environments
from magellon.platform.worker.child import Child
from magellon.platform.worker.requests import Done, Listener, Request

OWN = "magellon"
_MOST_WARM = 4
"""Children that wait for more of their environment's tasks; one more, and the one that waited longest goes."""


class PythonFinder:
    """Which Python runs a backend; looks again when plugins come or go."""

    def __init__(self, plugins: Path | None) -> None:
        self._plugins = plugins
        self._mark = -1
        self._pythons: dict[str, str] = {}

    def find(self, category: str, backend: str) -> str:
        """The Python of a backend's environment; ours for one that nobody knows, which then says so itself."""
        return self.list_all().get(f"{category}/{backend}", sys.executable)

    def list_plugins(self, names: Sequence[str]) -> set[str]:
        """Backends that plugins of these names bring, as `category/name`; `magellon` is what our own environment brings."""
        own = {key for key, python in self.list_all().items() if python == sys.executable} if OWN in names else set()
        return own | {key for each in list_environments(self._plugins) if each.name in names for key in each.backends}

    def list_all(self) -> dict[str, str]:
        """By `category/name`."""
        mark = mark_environments(self._plugins)
        if mark != self._mark:
            self._pythons, self._mark = map_pythons(self._plugins), mark
        return self._pythons


@dataclass
class Children:
    """Runs a task in the warm child of its backend's environment."""

    finder: PythonFinder
    threads: int = 1
    output_file: Path | None = None
    _children: "OrderedDict[str, Child]" = field(default_factory=OrderedDict)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def warm(self, keys: Sequence[str] = ()) -> None:
        """Start what will be needed: the children of these backends' environments, or that of our own."""
        for python in {self.finder.find(*key.split("/", 1)) for key in keys} or {sys.executable}:
            await (await self._take(python)).start()

    async def check(self, keys: Sequence[str]) -> None:
        """Start the children of these backends' environments and hear their first word.

        Raises:
            BadInput: one does not come up; says why.
        """
        for python in {self.finder.find(*key.split("/", 1)) for key in keys}:
            await (await self._take(python)).wait_until_ready()

    async def run(self, request: Request, listen: Listener | None = None) -> Done:
        """As `Child.run`."""
        child = await self._take(self.finder.find(request.category, request.backend))
        return await child.run(request, listen)

    @property
    def seconds_at_work(self) -> float:
        """At the task they are at; 0 when there is none."""
        return max((child.seconds_at_work for child in self._children.values()), default=0.0)

    def put_off_waiting(self) -> None:
        """As `Child.put_off_waiting`."""
        for child in self._children.values():
            child.put_off_waiting()

    async def close(self) -> None:
        while self._children:
            _, child = self._children.popitem()
            await child.close()

    async def _take(self, python: str) -> Child:
        known = {*self.finder.list_all().values(), sys.executable}
        for gone in [each for each in self._children if each not in known]:  # the plugin was removed or has another version
            await self._children.pop(gone).close()
        if python not in self._children:
            if len(self._children) >= _MOST_WARM:
                _, oldest = self._children.popitem(last=False)
                await oldest.close()
            own = python == sys.executable
            variables = os.environ if own else isolate_variables(os.environ, Path(python))
            self._children[python] = Child(
                threads=self.threads, output_file=self.output_file, python=python, inherited=variables
            )
        self._children.move_to_end(python)
        return self._children[python]
