"""One supervisor per state folder: a second bus on the same store would lose messages, a second server break the ledger."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from magellon.errors import BadInput


class Held(BadInput):
    """Somebody else works in this state folder."""


@asynccontextmanager
async def hold_lock(path: Path, patience: float = 5.0) -> AsyncIterator[int]:
    """Hold the lock of a state folder; gives its file descriptor.

    Processes that inherit the descriptor hold the lock too, so that after the sudden death of a supervisor the next one
    waits until its processes are gone.

    Raises:
        Held: somebody else has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if loop.time() > deadline:
                    raise Held(f"another magellon is working in {path.parent}; use it, or another --home") from None
                await asyncio.sleep(0.05)
        yield descriptor
    finally:
        os.close(descriptor)
