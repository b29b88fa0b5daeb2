"""Log lines of tasks, from the file the worker writes on the shared filesystem."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from magellon.platform.server.http.sse import HEARTBEAT, HEARTBEAT_INTERVAL, write_frame

_LOOK_AGAIN = 0.5
_AT_A_TIME = 256 << 10


def read_log(path: Path, offset: int, limit: int) -> bytes:
    """A part of a log; empty when there is none yet."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(limit)
    except (FileNotFoundError, NotADirectoryError):
        return b""


async def follow_log(find: Callable[[], tuple[Path, bool]], offset: int) -> AsyncIterator[bytes]:
    """Frames of `lines`, each numbered by the offset after it, then one `end`.

    `find` says which file it is and whether the task has ended; both may change, as a task may be tried again.
    """
    silent = 0.0
    while True:
        path, ended = await asyncio.to_thread(find)
        content = await asyncio.to_thread(read_log, path, offset, _AT_A_TIME)
        whole = content if ended or len(content) == _AT_A_TIME else content[: content.rfind(b"\n") + 1]
        if whole:
            offset, silent = offset + len(whole), 0.0
            yield write_frame("lines", {"lines": whole.decode(errors="replace").splitlines()}, offset)
        elif ended:
            yield write_frame("end", {"offset": offset})
            return
        else:
            if silent >= HEARTBEAT_INTERVAL:
                silent = 0.0
                yield HEARTBEAT
            silent += _LOOK_AGAIN
            await asyncio.sleep(_LOOK_AGAIN)
