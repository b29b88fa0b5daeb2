"""Which child computes which task: tasks that end at once share a few children, however many slots there are."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from magellon.platform.worker.children import Children

SHORT = 0.05
"""Seconds: a task that ends within that is short. Nobody needs to hear that it began."""

_MOST_WAITING = 64
"""Tasks in a lane."""

Kind = tuple[str, str]
"""Category and backend."""


def _count_places() -> int:
    return len(os.sched_getaffinity(0))


@dataclass(eq=False)
class _Lane:
    """Children at work, of which those of one environment compute."""

    children: Children
    python: str
    open: bool
    """Whether more tasks may wait in it."""
    tasks: int = 0
    timer: asyncio.TimerHandle | None = None


@dataclass
class Lanes:
    """Knows which kinds of task have been ending at once, and has those wait for each other.

    A process that is woken for half a millisecond of work takes as long again to be woken; one that finds its next task when it
    ends the last one does not. When a task turns out to be longer, those that wait for it get children of their own.
    """

    find_python: Callable[[str, str], str]
    """The Python that runs a backend."""
    places: int = field(default_factory=_count_places)
    """Children that short tasks share."""
    _idle: list[Children] = field(default_factory=list)
    """Those that worked last at the end: they are the first to work again, as they are still in the processor's caches."""
    _lanes: list[_Lane] = field(default_factory=list)
    _short: set[Kind] = field(default_factory=set)

    def add(self, children: Children) -> None:
        """There must be as many as tasks at a time."""
        self._idle.append(children)

    def is_short(self, kind: Kind) -> bool:
        """Whether the latest task of this kind that ended well ended at once."""
        return kind in self._short

    def note_end(self, kind: Kind, seconds: float) -> None:
        """A task of this kind ended well after so many seconds of work."""
        (self._short.add if seconds < SHORT else self._short.discard)(kind)

    @contextmanager
    def take_turn(self, kind: Kind, alone: bool = False) -> Iterator[Children]:
        """Children for one task; for it alone if it is not short."""
        lane = self._find_lane(kind, alone)
        lane.tasks += 1
        try:
            yield lane.children
        finally:
            lane.tasks -= 1
            if not lane.tasks:
                self._end(lane)

    def _find_lane(self, kind: Kind, alone: bool) -> _Lane:
        python = self.find_python(*kind)
        short = self.is_short(kind) and not alone
        shared = [lane for lane in self._lanes if lane.open and lane.python == python] if short else []
        emptiest = min(shared, key=lambda lane: lane.tasks, default=None)
        if emptiest is not None and len(shared) >= self.places and emptiest.tasks < _MOST_WAITING:
            return emptiest
        lane = _Lane(self._idle.pop(), python, short)
        self._lanes.append(lane)
        if short:
            self._watch(lane)
        return lane

    def _watch(self, lane: _Lane) -> None:
        if lane.children.seconds_at_work > SHORT:
            lane.open, lane.timer = False, None
            lane.children.put_off_waiting()
        else:
            lane.timer = asyncio.get_running_loop().call_later(SHORT, self._watch, lane)

    def _end(self, lane: _Lane) -> None:
        if lane.timer is not None:
            lane.timer.cancel()
        self._lanes.remove(lane)
        self._idle.append(lane.children)
