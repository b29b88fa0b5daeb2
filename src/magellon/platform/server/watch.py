"""Which workers live and what they compute, from their beats."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from magellon.contracts.task import Beat, Running

_REMEMBERED = 6 * 3600.0
"""Seconds for which a worker that fell silent is still listed."""


@dataclass
class _Seen:
    beat: Beat
    at: float


@dataclass(frozen=True)
class Sight:
    """A worker as it was last heard of."""

    beat: Beat
    silent_for: float
    """Seconds since its last beat."""
    lost: bool


@dataclass
class Watch:
    """Registry of workers. Times are this process's own clock."""

    lost_after: float
    forgotten_after: float = 10.0
    _workers: dict[str, _Seen] = field(default_factory=dict)
    _listening_since: float = field(default_factory=time.monotonic)
    _unmentioned: dict[tuple[int, int], float] = field(default_factory=dict)

    def note_beat(self, beat: Beat) -> None:
        self._workers[beat.worker] = _Seen(beat, time.monotonic())

    def excuse_silence(self) -> None:
        """The bus was away, so nobody could be heard: count from now."""
        self._listening_since = time.monotonic()
        for seen in self._workers.values():
            seen.at = self._listening_since

    def list_beats(self) -> list[Beat]:
        now = time.monotonic()
        return [seen.beat for seen in self._workers.copy().values() if now - seen.at < self.lost_after]

    def list_sights(self) -> list[Sight]:
        """Workers heard of in the last hours by name, also those that fell silent; without those that said good-bye."""
        now = time.monotonic()
        seen = [each for _, each in sorted(self._workers.copy().items()) if now - each.at < _REMEMBERED]
        return [Sight(each.beat, now - each.at, now - each.at >= self.lost_after) for each in seen if not each.beat.leaving]

    def mentions(self, task: int, attempt: int) -> Running | None:
        """What a living worker says of a task it computes."""
        return self.list_mentioned().get((task, attempt))

    def list_mentioned(self) -> dict[tuple[int, int], Running]:
        """All that living workers compute, by task and attempt."""
        return {(running.task, running.attempt): running for beat in self.list_beats() for running in beat.running}

    def is_lost(self, worker: str, incarnation: str, age: float) -> bool:
        """Whether the process that began a task `age` seconds ago is gone: silent, or replaced by another of its name."""
        seen = self._workers.get(worker)
        now = time.monotonic()
        if seen is not None and seen.beat.incarnation != incarnation:
            return now - seen.at < age  # the beat came after the task began
        return now - (seen.at if seen else self._listening_since) >= self.lost_after

    def find_forgotten(self, running: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Those of these (task, attempt) that nobody has mentioned for too long."""
        now = time.monotonic()
        mentioned = self.list_mentioned()
        silent = [key for key in running if key not in mentioned]
        self._unmentioned = {key: self._unmentioned.get(key, now) for key in silent}
        return [key for key, since in self._unmentioned.items() if now - since > self.forgotten_after]
