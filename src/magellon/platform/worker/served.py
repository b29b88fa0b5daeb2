"""Which backends a worker serves: all it finds, or those it was started for, without those that have workers of their own."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from magellon.platform.worker.children import PythonFinder

log = logging.getLogger("magellon.worker")


@dataclass
class Served:
    """Changes while the worker runs: plugins come and go, and get workers of their own."""

    finder: PythonFinder
    only: Sequence[str] = ()
    """Plugins, categories or `category/name`; none: all."""
    assignments: Path | None = None
    """File of the launcher that says which backends have workers of their own; looked at again when it changes."""
    _mark: int = -1
    _assigned: set[str] = field(default_factory=set)

    def list_backends(self) -> tuple[str, ...]:
        """`category/name`, in order."""
        keys = self.finder.list_all()
        if self.only:
            wanted = {*self.only, *self.finder.list_plugins(self.only)}
            return tuple(key for key in keys if {key, key.split("/")[0]} & wanted)
        return tuple(key for key in keys if key not in self._read_assigned())

    def _read_assigned(self) -> set[str]:
        if self.assignments is None:
            return set()
        try:
            mark = self.assignments.stat().st_mtime_ns
            if mark != self._mark:
                content = json.loads(self.assignments.read_bytes())
                self._assigned = {key for plugin in content.values() for key in plugin["backends"]}
                self._mark = mark
        except FileNotFoundError:
            self._assigned, self._mark = set(), -1
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read, all backends are served: %s", self.assignments, error)
        return self._assigned
