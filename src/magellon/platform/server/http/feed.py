"""What happens, for everybody who watches: the ledger's events in order, and the newest progress of each job.

A reader keeps its place itself, so that a slow one costs nothing: it finds the events it has not seen in the ledger, and of
progress only the newest.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from typing import Any

from pydantic import ValidationError
from sqlalchemy import func, select

from magellon.platform.server.http.sse import HEARTBEAT, HEARTBEAT_INTERVAL, write_frame
from magellon.platform.server.report import Progress
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import events, jobs

_LOOK_AGAIN = 0.25
_AT_HAND = 5000
_AT_A_TIME = 500
_PROGRESS_KEPT = 1000
_ASK_AGAIN = 5.0
"""Seconds after which a right that was withdrawn ends what is seen."""


@dataclass(frozen=True)
class Happening:
    """One row of the ledger's events."""

    id: int
    session: int | None
    data: dict[str, Any]

    @cached_property
    def frame(self) -> bytes:
        """As it is sent, the same for every reader."""
        return write_frame("task" if self.data["task"] else "job", self.data, self.id)


Watcher = Callable[[], frozenset[int] | None]
"""Which sessions a reader may see now, None for all; raises PermissionError when the reader may see nothing any more."""


@dataclass
class Feed:
    """Reads each event once for all readers."""

    ledger: Ledger
    last: int = 0
    """Number of the newest event known."""
    _recent: "deque[Happening]" = field(default_factory=lambda: deque(maxlen=_AT_HAND))
    _progress: dict[int, tuple[int, Progress]] = field(default_factory=dict)
    _sessions: dict[int, int] = field(default_factory=dict)
    _version: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _readers: int = 0

    async def run(self) -> None:
        """Look for events until cancelled."""
        self.last = await asyncio.to_thread(self._find_end)
        while True:
            if self._readers:
                await self._look()
            await asyncio.sleep(_LOOK_AGAIN)

    def _find_end(self) -> int:
        with self.ledger.reading() as connection:
            return connection.execute(select(func.max(events.c.id))).scalar() or 0

    async def _look(self) -> None:
        while found := await asyncio.to_thread(self.read_after, self.last):
            self._recent.extend(found)
            self.last = found[-1].id
            self._wake()
            if len(found) < _AT_A_TIME:
                break

    def read_after(self, number: int) -> list[Happening]:
        """The next events from the ledger."""
        query = select(events).where(events.c.id > number).order_by(events.c.id).limit(_AT_A_TIME)
        with self.ledger.reading() as connection:
            rows = connection.execute(query).all()
            unknown = {row.job_id for row in rows} - self._sessions.keys()
            if unknown:
                of_jobs = select(jobs.c.id, jobs.c.session_id).where(jobs.c.id.in_(unknown))
                self._sessions.update({row.id: row.session_id for row in connection.execute(of_jobs)})
        return [
            Happening(
                row.id,
                self._sessions.get(row.job_id),
                {"id": row.id, "at": row.at, "session": self._sessions.get(row.job_id), "job": row.job_id,
                 "task": row.task_id, "kind": row.kind, "text": row.text},
            )
            for row in rows
        ]  # fmt: skip

    def hear_progress(self, data: bytes) -> None:
        """A job's progress as the dispatcher tells it."""
        with contextlib.suppress(ValidationError):
            progress = Progress.model_validate_json(data)
            self._version += 1
            self._progress.pop(progress.job, None)
            self._progress[progress.job] = (self._version, progress)
            while len(self._progress) > _PROGRESS_KEPT:
                del self._progress[next(iter(self._progress))]
            self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def follow(self, after: int | None, may_see: Watcher) -> AsyncIterator[bytes]:
        """Frames for one reader: events after a number (None: from now on), those of one moment together, and progress, or
        heartbeats."""
        self._readers += 1
        try:
            end = await asyncio.to_thread(self._find_end)
            position = end if after is None else min(after, end)  # beyond the end: of a ledger that was put back since
            heard = 0
            asked = -_ASK_AGAIN
            visible: frozenset[int] | None = frozenset()
            yield HEARTBEAT
            while True:
                changed = self._changed
                if time.monotonic() - asked >= _ASK_AGAIN:
                    asked = time.monotonic()
                    try:
                        visible = may_see()
                    except PermissionError:
                        return
                sent = False
                while batch := await self._find_after(position):
                    position = batch[-1].id
                    frames = [each.frame for each in batch if _is_visible(each.session, visible)]
                    if frames:
                        yield b"".join(frames)  # together: a busy job makes hundreds a second, for each reader
                        sent = True
                for version, progress in [entry for entry in self._progress.values() if entry[0] > heard]:
                    heard = max(heard, version)
                    session = await self._find_session(progress.job)
                    if _is_visible(session, visible):
                        yield write_frame("progress", {**progress.model_dump(mode="json"), "session": session})
                        sent = True
                if not await _wait(changed) and not sent:
                    yield HEARTBEAT
        finally:
            self._readers -= 1

    async def _find_after(self, position: int) -> list[Happening]:
        if self._recent and self._recent[0].id <= position + 1:
            newer = list(takewhile(lambda each: each.id > position, reversed(self._recent)))
            return newer[::-1][:_AT_A_TIME]
        return await asyncio.to_thread(self.read_after, position)

    async def _find_session(self, job: int) -> int | None:
        if job not in self._sessions:
            await asyncio.to_thread(self._learn_session, job)
        return self._sessions.get(job)

    def _learn_session(self, job: int) -> None:
        with self.ledger.reading() as connection:
            found = connection.execute(select(jobs.c.session_id).where(jobs.c.id == job)).scalar_one_or_none()
        if found is not None:
            self._sessions[job] = found


def _is_visible(session: int | None, visible: frozenset[int] | None) -> bool:
    return visible is None or session in visible


async def _wait(changed: asyncio.Event) -> bool:
    """False when nothing happened for a while."""
    try:
        async with asyncio.timeout(HEARTBEAT_INTERVAL):
            await changed.wait()
    except TimeoutError:
        return False
    return True
