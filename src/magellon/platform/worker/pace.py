"""Tasks that end at once: a few at a time are computed, however many slots there are."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

SHORT = 0.05
"""Seconds: a task that ends within that is short. Nobody needs to hear that it began."""
_BESIDE_CORES = 2

Kind = tuple[str, str]
"""Category and backend."""


def _count_places() -> int:
    return len(os.sched_getaffinity(0)) + _BESIDE_CORES


@dataclass
class Pace:
    """Knows which kinds of task have been ending at once, and lets those through a few at a time.

    More processes than cores that each work for half a millisecond only drive each other out of the caches. A task that turns
    out to be longer gives its place away, so that nobody waits for it.
    """

    places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_count_places()))
    _short: set[Kind] = field(default_factory=set)

    def is_short(self, kind: Kind) -> bool:
        """Whether the latest task of this kind that ended well ended at once."""
        return kind in self._short

    @contextlib.asynccontextmanager
    async def take_turn(self, kind: Kind) -> AsyncIterator[None]:
        """The time within counts as the task's."""
        leave = await self._enter() if self.is_short(kind) else None
        began = time.monotonic()
        try:
            yield
            (self._short.add if time.monotonic() - began < SHORT else self._short.discard)(kind)
        finally:
            if leave is not None:
                leave()

    async def _enter(self) -> Callable[[], None]:
        """Take a place; what is returned gives it back, which happens by itself when the task is no longer short."""
        await self.places.acquire()
        held = True

        def leave() -> None:
            nonlocal held
            if held:
                held = False
                timer.cancel()
                self.places.release()

        timer = asyncio.get_running_loop().call_later(SHORT, leave)
        return leave
