"""`magellon clean`: through the server where one runs, by itself where none does."""

import asyncio
import json
from pathlib import Path

from magellon.errors import BadInput, Transient
from magellon.platform.bus.configuration import read_address
from magellon.platform.bus.connection import BUS_ERRORS, connect_bus
from magellon.platform.launch.lock import hold_lock
from magellon.platform.server.book import Book
from magellon.platform.server.cleaning import Cleaned, CleanRequest, clean_home
from magellon.platform.server.policy import Policy
from magellon.platform.store.engines import find_database
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.results import ResultStore

_LONGEST = 3600.0


def clean(root: Path, state: Path | None, request: CleanRequest, database: str | None = None) -> Cleaned:
    """Clean a home.

    Raises:
        BadInput: it is not a home, or its server does not answer.
    """
    home = Home.at(root, state)
    if not home.token_file.exists() or not home.lock.parent.exists():
        raise BadInput(f"{home.root} is not a home of Magellon's that this machine serves (no {home.token_file})")
    return asyncio.run(_clean(home, request, database))


async def _clean(home: Home, request: CleanRequest, database: str | None) -> Cleaned:
    try:
        async with hold_lock(home.lock, patience=0):
            url = find_database(database)
            ledger = Ledger(url) if url else Ledger.at(home.ledger)
            try:
                ledger.await_database(0)
                ledger.migrate()
                return await clean_home(Book(ledger, home, Policy(), ResultStore(home.results)), request, ())
            finally:
                ledger.close()
    except BadInput as error:
        if "another magellon is working" not in str(error):
            raise
    return await _ask_server(home, request)


async def _ask_server(home: Home, request: CleanRequest) -> Cleaned:
    try:
        client = await connect_bus(read_address(home.bus), "clean")
    except Transient as error:
        raise BadInput(str(error)) from error
    try:
        answer = json.loads((await client.request("api.clean", request.model_dump_json().encode(), timeout=_LONGEST)).data)
    except BUS_ERRORS as error:
        raise BadInput(f"the server of {home.root} does not answer: {error}") from error
    finally:
        await client.close()
    if "refused" in answer:
        raise BadInput(answer["refused"])
    return Cleaned.model_validate(answer["answer"])
