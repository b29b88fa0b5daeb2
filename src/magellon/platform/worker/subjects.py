"""Where a worker looks for tasks, and in which order."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from magellon.contracts import CONTRACTS
from magellon.platform.bus.streams import task_subject


@dataclass
class Subjects:
    """Which backends' tasks may be waiting; urgent ones first, then those farthest along the pipeline."""

    keys: list[tuple[str, str, bool]]
    hints: dict[str, int] = field(default_factory=dict)
    """Subject > number of wakes heard; a subject found empty is left alone until the next wake or the next full look."""
    empty: dict[str, int] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, backends: Iterable[str]) -> "Subjects":
        order = list(CONTRACTS)
        keys = [(category, name) for category, _, name in (key.partition("/") for key in backends) if category in order]
        keys.sort(key=lambda key: (-order.index(key[0]), key[1]))
        return cls([(*key, urgent) for urgent in (True, False) for key in keys])

    def wake(self, subject: str) -> None:
        self.hints[subject] = self.hints.get(subject, 0) + 1
        self.changed.set()

    def look_everywhere(self) -> None:
        self.empty.clear()

    def choose(self, backends: Iterable[str]) -> None:
        """From now on these."""
        self.keys = Subjects.of(backends).keys

    def worth_asking(self, key: tuple[str, str, bool]) -> bool:
        subject = task_subject(*key)
        return self.empty.get(subject) != self.hints.get(subject, 0)
