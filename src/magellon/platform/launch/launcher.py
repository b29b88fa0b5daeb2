"""Where workers come from. On one machine the supervisor starts them; elsewhere a launcher asks a cluster for them."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from nats.aio.client import Client

from magellon.errors import Transient
from magellon.platform.bus.configuration import BusAddress
from magellon.platform.bus.connection import BUS_ERRORS, connect_bus

log = logging.getLogger("magellon.launcher")

DemandSource = Callable[[], Awaitable[int | None]]
"""Number of tasks that could be computed now, those being computed included; None when nobody can say at the moment."""

_BUS_PATIENCE = 60.0


class Launcher(Protocol):
    """Sees to it that there are workers while there is work."""

    @property
    def plugins(self) -> str:
        """What its workers serve: categories or `category/name` by commas; all if empty."""

    async def keep(self, demand: DemandSource) -> None:
        """Until cancelled. A cluster that does not answer is asked again later."""

    async def stop(self) -> None:
        """Take all workers back; what they compute is handed back to the server.

        Raises:
            Transient: the cluster does not answer.
        """


@asynccontextmanager
async def run_launcher(launcher: Launcher, address: BusAddress) -> AsyncIterator[None]:
    """Have a launcher follow the server's demand; at the end it takes its workers back."""

    async def follow() -> None:
        client = await connect_bus(address, "launcher", patience=_BUS_PATIENCE)
        try:
            await launcher.keep(lambda: ask_demand(client, launcher.plugins))
        finally:
            await client.close()

    following = asyncio.create_task(follow())
    try:
        yield
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError, Transient):
            await following
        try:
            await launcher.stop()
        except Transient as error:
            log.warning("workers could not be taken back, they end by themselves: %s", error)


async def ask_demand(client: Client, plugins: str) -> int | None:
    """The server's demand for workers with these plugins."""
    try:
        answer: Mapping[str, Any] = json.loads((await client.request("api.demand", b"", timeout=5)).data)
    except BUS_ERRORS:
        return None
    return count_tasks(answer["answer"], plugins) if "answer" in answer else None


def count_tasks(demand: Sequence[Mapping[str, Any]], plugins: str) -> int:
    """Tasks that workers with these plugins can compute."""
    only = set(filter(None, plugins.split(",")))
    return sum(
        int(each["pending"]) + int(each["running"])
        for each in demand
        if not only or {each["backend"], each["backend"].split("/")[0]} & only
    )
