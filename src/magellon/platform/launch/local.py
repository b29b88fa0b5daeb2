"""Everything on this machine: bus, server and workers as child processes of a supervisor."""

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from magellon.contracts import Record
from magellon.platform.bus.configuration import BusAddress, find_nats_server, write_configuration
from magellon.platform.launch.lock import hold_lock
from magellon.platform.launch.replicas import Replicas, locate_assignments, open_replicas
from magellon.platform.launch.supervisor import Program, Supervisor
from magellon.platform.store.home import Home

BUS, SERVER, WORKER = "bus", "server", "worker"
WORKER_NAME = "local"
_UNUSABLE = frozenset({78})
"""Exit status of a process that says why starting it again would not help."""


class LocalPlan(Record):
    """How to fill this machine."""

    slots: int
    """Tasks at a time."""
    threads: int = 1
    device: str = "auto"
    policy: str = "{}"
    """The server's `Policy` as JSON."""
    beat: float = 1.0
    replicas: bool = False
    """Whether plugins may have workers of their own, started and stopped while this runs."""


@dataclass(frozen=True)
class Running:
    """What is being kept running."""

    address: BusAddress
    supervisor: Supervisor


@asynccontextmanager
async def run_locally(home: Home, plan: LocalPlan) -> AsyncIterator[Running]:
    """Start all; stop all at the end, whatever the end is.

    Raises:
        BadInput: the home cannot be used, or another supervisor works in it.
    """
    home.prepare()
    async with hold_lock(home.lock) as lock:
        address = write_configuration(home.bus_configuration)
        supervisor = Supervisor()
        try:
            for program in _list_programs(home, plan, lock):
                await supervisor.keep(program)
            async with AsyncExitStack() as stack:
                if plan.replicas:
                    template = Program("", _make_worker(home, plan), home.logs, _UNUSABLE, (lock,))
                    await stack.enter_async_context(open_replicas(address, Replicas(supervisor, home, template)))
                yield Running(address, supervisor)
        finally:
            await supervisor.stop()
            shutil.rmtree(home.work / WORKER_NAME, ignore_errors=True)  # of a worker too busy to clear up in time


def _list_programs(home: Home, plan: LocalPlan, lock: int) -> list[Program]:
    place = ["--home", str(home.root), "--state", str(home.state)]
    python = [sys.executable, "-m"]
    server = [*python, "magellon.platform.server", *place, "--policy", plan.policy]
    worker = [*_make_worker(home, plan), "--name", WORKER_NAME, "--slots", str(plan.slots)]
    if plan.replicas:
        worker += ["--assignments", str(locate_assignments(home))]
    bus = [str(find_nats_server()), "-c", str(home.bus_configuration)]
    return [
        Program(BUS, bus, home.logs / "bus.log", pass_fds=(lock,)),
        Program(SERVER, server, home.logs / "server.log", pass_fds=(lock,)),
        Program(WORKER, worker, home.logs / "worker.log", _UNUSABLE, pass_fds=(lock,)),
    ]


def _make_worker(home: Home, plan: LocalPlan) -> list[str]:
    """A worker's command without name, slots and backends."""
    place = ["--home", str(home.root), "--state", str(home.state)]
    how = ["--threads", str(plan.threads), "--device", plan.device, "--beat", str(plan.beat)]
    return [sys.executable, "-m", "magellon.platform.worker", *place, *how]
