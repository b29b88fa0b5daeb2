"""`python -m benchmarks.load_workers HOME COUNT BACKENDS`: so many idle workers in one process, until a signal ends it.

Each is a whole worker with a connection of its own: it registers, beats, hears what all workers hear and looks for tasks, of
which there are none. Only its computing process is not started, as 50 of them would need the memory of a large machine.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from magellon.platform.bus.configuration import read_address
from magellon.platform.bus.connection import connect_bus
from magellon.platform.store.home import Home
from magellon.platform.store.results import ResultStore
from magellon.platform.store.roots import Roots
from magellon.platform.worker.children import Children, PythonFinder
from magellon.platform.worker.compute import Workshop
from magellon.platform.worker.mount import ask_roots
from magellon.platform.worker.served import Served
from magellon.platform.worker.worker import Worker

BEAT = 1.0


@dataclass
class _Announced(Served):
    """Serves what it is told, whatever is installed."""

    keys: tuple[str, ...] = ()

    def list_backends(self) -> tuple[str, ...]:
        return self.keys


class _Unwarmed(Children):
    """Starts a computing process with the first task, not before."""

    async def warm(self, keys: Sequence[str] = ()) -> None:
        pass


class _IdleWorker(Worker):
    def _open_children(self, slot: int) -> Children:
        return _Unwarmed(self._served.finder)


async def work(home: Home, name: str, backends: tuple[str, ...]) -> None:
    client = await connect_bus(read_address(home.bus), name)

    async def refresh() -> Roots:
        return await ask_roots(client, name, home, {})

    workshop = Workshop(ResultStore(home.results), home.work / name, home.logs, home.catalogue, "cpu", 1, 1 << 30)
    served = _Announced(PythonFinder(None), keys=backends)
    await _IdleWorker(client, name, workshop, 1, refresh, served).run(BEAT)


async def main(home: Path, count: int, backends: tuple[str, ...]) -> None:
    await asyncio.gather(*(work(Home.at(home), f"idle-{number:02}", backends) for number in range(count)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), tuple(sys.argv[3].split(","))))
