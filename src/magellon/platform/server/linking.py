"""Links of completed tasks, made beside everything else: a file system may take longer for a link than a ledger for a task."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable

from magellon.platform.server.book import Book
from magellon.platform.server.links import Link, make_links

log = logging.getLogger("magellon.server")

_MOST_WAITING = 5000
_AT_A_TIME = 500


class Linker:
    """Makes links in a thread, in the order in which they were asked for.

    A job whose links cannot be made is marked as loosened in the book, so that they are made again. Those that a server which
    ends leaves unmade are made by the next one, which looks through all active jobs.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._waiting: list[Link] = []
        self._left: Counter[int] = Counter()
        """Links to make, by job."""
        self._making: asyncio.Task[None] | None = None

    def is_busy(self, job: int) -> bool:
        """Whether links of this job are still to be made."""
        return job in self._left

    def add(self, links: Iterable[Link]) -> None:
        """Have these made soon."""
        before = len(self._waiting)
        self._waiting += links
        self._left.update(link.job for link in self._waiting[before:])
        if self._waiting and (self._making is None or self._making.done()):
            self._making = asyncio.create_task(self._make_all())

    async def wait_for_room(self) -> None:
        """Where links are slower than tasks for long, the tasks wait."""
        if self._making is not None and len(self._waiting) >= _MOST_WAITING:
            await asyncio.wait({self._making})

    async def _make_all(self) -> None:
        while self._waiting:
            part, self._waiting = self._waiting[:_AT_A_TIME], self._waiting[_AT_A_TIME:]
            try:
                await asyncio.to_thread(make_links, part, self._book.home)
            except OSError as error:  # a full or read-only disk: the ledger goes on, the links follow
                log.warning("the session's folder cannot be written: %s", error)
                self._book.loosened.update(link.job for link in part)
            self._left -= Counter(link.job for link in part)
