"""`python -m magellon.platform.server --home DIR`: the process that owns the ledger. With `--web`, also the HTTP interface."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

from magellon.errors import BadInput, Transient
from magellon.platform.bus.configuration import BusAddress, read_address
from magellon.platform.bus.connection import connect_bus
from magellon.platform.bus.heeding import heed_cancellation
from magellon.platform.garbage import collect_seldom
from magellon.platform.logs import start_logging
from magellon.platform.server.book import Book
from magellon.platform.server.dispatcher import Dispatcher
from magellon.platform.server.http.settings import WebSettings
from magellon.platform.server.outages import refuse_second_server, work_through_outages
from magellon.platform.server.policy import Policy
from magellon.platform.server.requests import Reception
from magellon.platform.server.watching import Watching
from magellon.platform.sessions.confining import EVERYWHERE, OpenFolders
from magellon.platform.store.engines import find_database
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.results import ResultStore

log = logging.getLogger("magellon.server")

UNUSABLE_STATUS = 78
"""EX_CONFIG: starting again would not help."""
_DATABASE_PATIENCE = 60.0


async def serve(
    home: Home, policy: Policy, address: BusAddress, database: str | None = None, web: WebSettings | None = None
) -> None:
    """Until a signal ends it.

    Raises:
        BadInput: the database or the bus cannot be used, or another server uses it.
    """
    ledger = Ledger(database) if database else Ledger.at(home.ledger)
    ledger.await_database(_DATABASE_PATIENCE)
    ledger.migrate()
    dispatchers: list[Dispatcher] = []

    async def meet_new_bus() -> None:
        for dispatcher in dispatchers:
            await dispatcher.meet_new_bus()

    client = await connect_bus(address, "server", meet_new_bus)
    await refuse_second_server(client)
    allowed = OpenFolders(web.find_data(home.root), (home.state,)) if web else EVERYWHERE
    dispatcher = Dispatcher(Book(ledger, home, policy, ResultStore(home.results), allowed), client)
    dispatchers.append(dispatcher)
    await client.subscribe("beat.*", cb=dispatcher.answer_beat)

    watching = Watching(dispatcher)
    reception = Reception(dispatcher, watching)
    opened = contextlib.AsyncExitStack()
    open_web = [web] if web else []

    async def run() -> None:
        await dispatcher.recover()  # nothing new comes in before the past is settled
        await reception.open()
        heed_cancellation()
        while open_web:
            from magellon.platform.server.http.serving import serve_web  # noqa: PLC0415 # FastAPI, where it is wanted

            await opened.enter_async_context(serve_web(dispatcher, reception, open_web.pop()))
        async with asyncio.TaskGroup() as group:
            group.create_task(dispatcher.run())
            group.create_task(watching.run())

    running = asyncio.create_task(work_through_outages(dispatcher.book, run))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await running
    finally:
        await opened.aclose()
        await client.close()
        ledger.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--policy", default="{}")
    parser.add_argument("--web", help="where to serve HTTP: WebSettings as JSON")
    parser.add_argument("--database", metavar="URL", help="a site's PostgreSQL; left out, a file in the state folder")
    arguments = parser.parse_args()
    start_logging()
    collect_seldom()
    home = Home.at(arguments.home, arguments.state)
    policy = Policy.model_validate_json(arguments.policy)
    web = WebSettings.model_validate_json(arguments.web) if arguments.web else None
    try:
        asyncio.run(serve(home, policy, read_address(home.bus), find_database(arguments.database), web))
    except BadInput as error:
        log.error("%s", error)
        return UNUSABLE_STATUS
    except Transient as error:
        log.error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
