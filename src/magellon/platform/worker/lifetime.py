"""How long a worker works: until it is told to leave, has been idle, or has lived its time. Then it drains."""

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass

from magellon.platform.worker.worker import Worker

log = logging.getLogger("magellon.worker")

_LOOK = 0.5


@dataclass(frozen=True)
class Limits:
    """Seconds; none of them unless given."""

    idle_exit: float | None = None
    """Leave after so long without a task."""
    max_age: float | None = None
    """Take no task when this old: a pilot must be gone before its allocation ends."""
    grace: float = 0.0
    """Time for what is being computed when it is time to leave; what is not done then is handed back to the server."""


async def work_within(worker: Worker, beat_interval: float, limits: Limits, leave: asyncio.Event) -> None:
    """Work until `leave` is set or a limit is reached, then drain."""
    working = asyncio.create_task(worker.run(beat_interval))
    waiting = asyncio.create_task(_wait_to_leave(worker, limits, leave))
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            log.info("%s: takes no more tasks, finishes within %.0f s what it is at", waiting.result(), limits.grace)
            worker.drain()
            await asyncio.wait({working}, timeout=limits.grace)
            handed_back = not working.done()
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
            log.info("left%s", ", handing back what was not finished" if handed_back else "")
    finally:
        for task in (waiting, working):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def _wait_to_leave(worker: Worker, limits: Limits, leave: asyncio.Event) -> str:
    """Until it is time; why."""
    born = time.monotonic()
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await leave.wait()
            return "told to leave"
        if limits.max_age is not None and time.monotonic() - born >= limits.max_age:
            return f"{limits.max_age:.0f} s old"
        if limits.idle_exit is not None and worker.idle_seconds >= limits.idle_exit:
            return f"{limits.idle_exit:.0f} s without a task"
