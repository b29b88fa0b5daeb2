"""Workers that plugins have for themselves: started, stopped and counted at run time, and there again after a restart.

A plugin's backends are run by the general workers, unless somebody said how many workers it is to have of its own; none is
possible too, and then nothing runs it. What was said is kept in a file that general workers read, so that they leave these
backends alone.
"""

import asyncio
import contextlib
import json
import logging
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import TypeAdapter, ValidationError

from magellon.contracts import Record
from magellon.platform.bus.configuration import BusAddress
from magellon.platform.bus.connection import BUS_ERRORS, connect_bus
from magellon.platform.bus.launching import SCALE_SUBJECT, STATE_SUBJECT, LaunchState, PluginName, ScaleRequest
from magellon.platform.launch.supervisor import Program, Supervisor
from magellon.platform.store.files import write_atomically
from magellon.platform.store.home import Home

log = logging.getLogger("magellon.supervisor")


def locate_assignments(home: Home) -> Path:
    return home.state / "replicas.json"


class Assignment(Record):
    """What was said of one plugin."""

    replicas: int
    backends: tuple[str, ...]


_reader: TypeAdapter[dict[str, Assignment]] = TypeAdapter(dict[PluginName, Assignment])


@dataclass
class Replicas:
    """Keeps as many workers as were asked for."""

    supervisor: Supervisor
    home: Home
    template: Program
    """A worker; its command lacks name, slots and backends."""
    _assignments: dict[str, Assignment] = field(default_factory=dict)
    _changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def restore(self) -> None:
        """Start the workers of an earlier time."""
        try:
            self._assignments = _reader.validate_json(locate_assignments(self.home).read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValidationError) as error:
            log.warning("%s cannot be read, so no plugin has workers of its own: %s", locate_assignments(self.home), error)
            return
        async with self._changing:
            for plugin in self._assignments:
                await self._fill(plugin)

    async def scale(self, request: ScaleRequest) -> None:
        """Start or stop workers of a plugin; those that were given up are tried again."""
        async with self._changing:
            if request.replicas is None:
                self._assignments.pop(request.plugin, None)
            else:
                self._assignments[request.plugin] = Assignment(replicas=request.replicas, backends=request.backends)
            content = {plugin: assignment.model_dump(mode="json") for plugin, assignment in self._assignments.items()}
            write_atomically(locate_assignments(self.home), json.dumps(content, indent=1).encode())
            await self._fill(request.plugin)

    async def _fill(self, plugin: str) -> None:
        assignment = self._assignments.get(plugin, Assignment(replicas=0, backends=()))
        wanted = [f"{plugin}-{number}" for number in range(1, assignment.replicas + 1)]
        running = {state.name: state for state in self.supervisor.list_states() if state.plugin == plugin}
        await asyncio.gather(*(self.supervisor.drop(name) for name in running if name not in wanted))
        for name in set(running) - set(wanted):
            shutil.rmtree(self.home.work / name, ignore_errors=True)  # of a worker too busy to clear up in time
        for name in wanted:
            if name not in running or running[name].condition == "given up":
                await self.supervisor.keep(self._make_program(name, plugin, assignment.backends))

    def _make_program(self, name: str, plugin: str, backends: Sequence[str]) -> Program:
        return Program(
            name,
            [*self.template.argv, "--name", name, "--slots", "1", "--backends", ",".join(backends)],
            self.home.logs / f"{name}.log",
            self.template.final_statuses,
            self.template.pass_fds,
            self.template.environment,
            vital=False,
            plugin=plugin,
        )

    def describe(self) -> LaunchState:
        counts = {plugin: assignment.replicas for plugin, assignment in self._assignments.items()}
        return LaunchState(programs=tuple(self.supervisor.list_states()), replicas=counts)

    # Over the bus

    async def serve(self, client: Client) -> None:
        """Answer the server from now on."""
        pending: set[asyncio.Task[None]] = set()

        async def tell(message: Msg) -> None:
            await _respond(message, {"answer": self.describe().model_dump(mode="json")})

        async def change(message: Msg) -> None:
            task = asyncio.create_task(self._answer_scale(message))  # stopping a worker takes seconds
            pending.add(task)
            task.add_done_callback(pending.discard)

        await client.subscribe(STATE_SUBJECT, cb=tell)
        await client.subscribe(SCALE_SUBJECT, cb=change)

    async def _answer_scale(self, message: Msg) -> None:
        try:
            await self.scale(ScaleRequest.model_validate_json(message.data))
        except (ValidationError, OSError) as error:
            await _respond(message, {"refused": str(error)})
        else:
            await _respond(message, {"answer": self.describe().model_dump(mode="json")})


@asynccontextmanager
async def open_replicas(address: BusAddress, replicas: Replicas) -> AsyncIterator[Replicas]:
    """Start the workers of an earlier time and listen for what is wanted now."""
    client = await connect_bus(address, "supervisor")
    try:
        await replicas.serve(client)
        await replicas.restore()
        yield replicas
    finally:
        await client.close()


async def _respond(message: Msg, reply: dict[str, object]) -> None:
    with contextlib.suppress(*BUS_ERRORS):
        await message.respond(json.dumps(reply).encode())
