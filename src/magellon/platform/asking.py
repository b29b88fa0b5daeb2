"""`magellon plugin`: asking the server that runs in a home; where none runs, the ledger itself for what needs no server."""

import asyncio
import json
from typing import Any

from magellon.errors import BadInput, Transient
from magellon.platform.bus.configuration import read_address
from magellon.platform.bus.connection import BUS_ERRORS, connect_bus
from magellon.platform.launch.lock import Held, hold_lock
from magellon.platform.pipeline.catalogue import read_catalogue
from magellon.platform.server.health import Facts, describe_plugins
from magellon.platform.server.plugins import PluginRequest, find_backends, refuse_unusable
from magellon.platform.server.settings import count_open_tasks, enable_backend, prefer_backend, read_settings
from magellon.platform.store.engines import find_database
from magellon.platform.store.environments import list_environments
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger

_ANSWERS_WITHIN = 120.0
"""Seconds; the first look at backends imports each, and stopping a worker takes a while."""


def ask_about_plugins(home: Home, request: PluginRequest) -> Any:
    """What `server.plugins.Plugins.answer` says.

    Raises:
        BadInput: it is refused, or needs a server and none runs in this home.
    """
    return asyncio.run(_ask(home, request))


async def _ask(home: Home, request: PluginRequest) -> Any:
    home.prepare()
    try:
        async with hold_lock(home.lock, patience=0.0):
            return _answer_alone(home, request)
    except Held:
        return await _ask_server(home, request)


async def _ask_server(home: Home, request: PluginRequest) -> Any:
    client = await connect_bus(read_address(home.bus), "plugin")
    try:
        message = await client.request("api.plugins", request.model_dump_json().encode(), timeout=_ANSWERS_WITHIN)
    except BUS_ERRORS as error:
        raise Transient(f"the server of {home.root} does not answer: {error or type(error).__name__}") from error
    finally:
        await client.close()
    answer = json.loads(message.data)
    if "refused" in answer:
        raise BadInput(answer["refused"])
    return answer["answer"]


def _answer_alone(home: Home, request: PluginRequest) -> Any:
    """Nobody else uses the ledger now."""
    if request.do not in ("list", "enable", "disable", "prefer", "count"):
        raise BadInput(f"no server runs in {home.root}; start it with `magellon up --home {home.root}`")
    database = find_database(None)
    ledger = Ledger(database) if database else Ledger.at(home.ledger)
    try:
        ledger.migrate()
        return _list_alone(home, ledger) if request.do == "list" else _set_alone(home, ledger, request)
    finally:
        ledger.close()


def _list_alone(home: Home, ledger: Ledger) -> Any:
    with ledger.transaction() as connection:
        settings = read_settings(connection)
    facts = Facts(read_catalogue(home.catalogue), list_environments(home.plugins), settings, watched=False)
    return [plugin.model_dump(mode="json") for plugin in describe_plugins(facts)]


def _set_alone(home: Home, ledger: Ledger, request: PluginRequest) -> list[str] | int:
    facts = Facts(read_catalogue(home.catalogue), list_environments(home.plugins))
    keys = find_backends(facts, request.target)
    with ledger.transaction() as connection:
        if request.do == "count":
            return count_open_tasks(connection, keys)
        if request.do == "prefer":
            if request.target not in facts.catalogue:
                raise BadInput(f"{request.target}: name a backend as CATEGORY BACKEND")
            refuse_unusable(facts.catalogue[request.target], read_settings(connection))
            prefer_backend(connection, request.target)
        else:
            for key in keys:
                enable_backend(connection, key, request.do == "enable")
    return keys
