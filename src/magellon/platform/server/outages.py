"""Going on when the database comes back, and refusing to be the second server."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from nats.aio.client import Client

from magellon.errors import BadInput
from magellon.platform.bus.connection import BUS_ERRORS
from magellon.platform.server.book import Book
from magellon.platform.store.ledger import LedgerAway

log = logging.getLogger("magellon.server")

_LOOK_AGAIN = 0.5


async def work_through_outages(book: Book, work: Callable[[], Awaitable[None]]) -> None:
    """Do the server's work, anew from what the ledger holds each time its database was away.

    Raises:
        LedgerTaken: meanwhile another server took over.
    """
    while True:
        try:
            await work()
            return
        except* LedgerAway as group:
            log.warning("%s", group.exceptions[0])
        await _wait_for_database(book)
        book.forget_jobs()  # a plan may have been read in a transaction that has not happened
        log.warning("the database is back")


async def _wait_for_database(book: Book) -> None:
    while True:
        await asyncio.sleep(_LOOK_AGAIN)
        try:
            book.ledger.await_database(0)
        except LedgerAway:
            continue
        return


async def refuse_second_server(client: Client) -> None:
    """One server works on one bus.

    Raises:
        BadInput: another one answers there.
    """
    try:
        await client.request("api.hello", b"{}", timeout=1)
    except BUS_ERRORS:
        return
    raise BadInput("another Magellon server works on this bus; a bus (or an account of a NATS server) serves one")
