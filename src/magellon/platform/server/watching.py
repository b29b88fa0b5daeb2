"""Folders of live sessions are looked at while movies come, and what is finished goes into the ledger."""

import asyncio
import logging
import time
from dataclasses import dataclass

from sqlalchemy import select, update

from magellon.contracts import Record
from magellon.errors import MagellonError
from magellon.platform.server.adding import (
    Arrivals,
    LiveSession,
    add_movies,
    find_live_session,
    tell_session,
)
from magellon.platform.server.advancing import advance_items, list_items
from magellon.platform.server.book import Book
from magellon.platform.server.dispatcher import Dispatcher
from magellon.platform.server.links import link_tasks
from magellon.platform.server.looking import FolderReader, open_reader
from magellon.platform.server.submitting import LIVE_PRIORITY
from magellon.platform.sessions.watch_records import Increment
from magellon.platform.sessions.watch_settings import WatchSettings
from magellon.platform.store.ledger import LedgerAway
from magellon.platform.store.schema import jobs, sessions

log = logging.getLogger("magellon.server")

_SLOWER = 1.5
_SHARE = 10.0
"""Between two polls at least so many times what a poll takes: a slow filesystem has other things to do."""
_SILENCE = 60.0
"""Seconds after which a filesystem that does not answer is told of."""


class WatchStatus(Record):
    """How a watch is doing."""

    session: int
    taken: int
    waiting: int
    """Movies that are not finished."""
    polled_at: float | None
    """Seconds since 1970."""
    trouble: str | None
    """Why the folder cannot be read now."""


@dataclass
class _Watched:
    """One session's watch at work."""

    task: "asyncio.Task[None]"
    reader: FolderReader
    waiting: int = 0
    polled_at: float | None = None
    trouble: str | None = None


class Watching:
    """The watches of all live sessions. What they know is in the ledger, so any of them may end at any time."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._book: Book = dispatcher.book
        self._watched: dict[int, _Watched] = {}

    async def run(self) -> None:
        """Watch all sessions that are live, until cancelled."""
        with self._book.ledger.transaction() as connection:
            live = connection.execute(select(sessions.c.id).where(sessions.c.live.is_not(None))).scalars().all()
        for session_id in live:
            try:
                self.start(session_id)
            except ValueError as error:  # a definition of another version, say: troubles no other session
                log.error("session %d cannot be watched: %s", session_id, error)
        try:
            await asyncio.Event().wait()
        finally:
            for watched in self._watched.values():
                watched.task.cancel()
            self._watched.clear()

    def start(self, session_id: int, settings: WatchSettings | None = None) -> None:
        """Begin to watch a session, or go on with other settings.

        Raises:
            BadInput: it has no settings and none are given.
        """
        with self._book.ledger.transaction() as connection:
            if settings is not None:
                live = settings.model_dump(mode="json")
                connection.execute(update(sessions).where(sessions.c.id == session_id).values(live=live))
                urgent = update(jobs).where(jobs.c.session_id == session_id)
                connection.execute(urgent.values(priority=LIVE_PRIORITY, active=True))
            reader = open_reader(self._book, connection, session_id)
        session = reader.session
        self._book.forget_job(session.job)
        self._forget(session_id)
        self._watched[session_id] = _Watched(asyncio.create_task(self._watch(session)), reader)

    def start_job(self, job: int) -> None:
        """Watch the session of a job that was submitted."""
        with self._book.ledger.transaction() as connection:
            session_id = connection.execute(select(jobs.c.session_id).where(jobs.c.id == job)).scalar_one()
        self.start(session_id)

    def stop(self, session_id: int, why: str = "the watch was ended") -> None:
        """End a watch; the session is then finished like any other."""
        with self._book.ledger.transaction() as connection:
            session = find_live_session(connection, session_id)
            connection.execute(update(sessions).where(sessions.c.id == session_id).values(live=None))
            ordinary = update(jobs).where(jobs.c.id == session.job, jobs.c.priority == LIVE_PRIORITY)
            connection.execute(ordinary.values(priority=0))
            self._book.forget_job(session.job)
            tell_session(self._book, connection, session.job, [why])
            some = list_items(connection, session.job)[:1]  # so that surveys are looked at, which waited for a full sample
            link_tasks(self._book, connection, advance_items(self._book, connection, session.job, some))
        self._forget(session_id)
        self._dispatcher.take_in(session.job)

    def describe(self, session_id: int) -> WatchStatus | None:
        """How a session's watch is doing; None when it is not live."""
        watched = self._watched.get(session_id)
        if watched is None:
            return None
        taken = len(watched.reader.watch.taken)
        return WatchStatus(
            session=session_id, taken=taken, waiting=watched.waiting, polled_at=watched.polled_at, trouble=watched.trouble
        )

    def _forget(self, session_id: int) -> None:
        watched = self._watched.pop(session_id, None)
        if watched is not None and watched.task is not asyncio.current_task():
            watched.task.cancel()

    # One watch

    async def _watch(self, session: LiveSession) -> None:
        await asyncio.sleep(0)  # it is entered among the watched first
        watched = self._watched[session.id]
        settings = watched.reader.watch.settings
        interval, quiet_since = settings.shortest_interval, time.monotonic()
        while True:
            started = time.monotonic()
            increment = await self._poll(session, watched)
            now = time.monotonic()
            if increment is None or increment or increment.waiting:
                quiet_since, interval = now, settings.shortest_interval
            elif settings.until_quiet is not None and now - quiet_since >= settings.until_quiet:
                self.stop(session.id, f"nothing has come for {settings.until_quiet:g} s: the watch ends")
                return
            else:
                interval = min(interval * _SLOWER, settings.longest_interval)
            if increment is None:  # in trouble
                interval = settings.longest_interval
            if not (increment is not None and increment.more):
                await asyncio.sleep(max(interval, _SHARE * (now - started)))

    async def _poll(self, session: LiveSession, watched: _Watched) -> Increment | None:
        """Look and enter what came; None when the folder cannot be read."""
        try:
            arrivals = await self._look(session, watched)
            if arrivals.increment:
                await self._enter(session, watched, arrivals)
            self._renew_gathers(session)
            self._tell_trouble(session, watched, None)
        except LedgerAway as error:
            log.warning("watching %s: %s", session.folder, error)
            return None
        except (OSError, MagellonError) as error:
            self._tell_trouble(session, watched, str(error))
            return None
        except Exception as error:
            log.exception("the watch of %s failed", session.name)
            self._tell_trouble(session, watched, f"{type(error).__name__}: {error}")
            return None
        watched.waiting, watched.polled_at = arrivals.increment.waiting, self._book.now()
        return arrivals.increment

    async def _look(self, session: LiveSession, watched: _Watched) -> Arrivals:
        looking = asyncio.create_task(asyncio.to_thread(watched.reader.look))
        done, _ = await asyncio.wait({looking}, timeout=_SILENCE)
        if not done:
            self._tell_trouble(session, watched, f"{session.folder}: the filesystem does not answer")
        return await looking

    async def _enter(self, session: LiveSession, watched: _Watched, arrivals: Arrivals) -> None:
        with self._book.ledger.transaction() as connection:
            withdrawn = add_movies(self._book, connection, session, arrivals)
        watched.reader.confirm(arrivals)
        self._dispatcher.take_in(session.job)
        await self._dispatcher.withdraw(withdrawn)

    def _renew_gathers(self, session: LiveSession) -> None:
        """Those that were put off."""
        if session.job in self._book.late_gathers:
            with self._book.ledger.transaction() as connection:
                link_tasks(self._book, connection, advance_items(self._book, connection, session.job, []))
            self._dispatcher.take_in(session.job)

    def _tell_trouble(self, session: LiveSession, watched: _Watched, trouble: str | None) -> None:
        if trouble == watched.trouble:
            return
        log.log(logging.WARNING if trouble else logging.INFO, "watching %s: %s", session.folder, trouble or "goes on")
        with self._book.ledger.transaction() as connection:
            tell_session(self._book, connection, session.job, [f"watching {session.folder}: {trouble or 'goes on'}"])
        watched.trouble = trouble
