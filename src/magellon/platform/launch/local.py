"""Everything on this machine: bus, server and workers as child processes of a supervisor."""

import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from magellon.contracts import Record
from magellon.platform.bus.configuration import (
    ADDRESS_FILE,
    BusAddress,
    find_nats_server,
    write_address,
    write_configuration,
)
from magellon.platform.launch.launcher import run_launcher
from magellon.platform.launch.lock import hold_lock
from magellon.platform.launch.replicas import Replicas, locate_assignments, open_replicas
from magellon.platform.launch.slurm import SlurmPlan, make_launcher
from magellon.platform.launch.supervisor import Program, Supervisor
from magellon.platform.store.engines import URL_VARIABLE
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
    web: str | None = None
    """Where the server serves HTTP: `WebSettings` as JSON; None: not at all."""
    replicas: bool = False
    """Whether plugins may have workers of their own, started and stopped while this runs."""
    local_workers: bool = True
    """False where workers are on other machines only."""


@dataclass(frozen=True)
class Site:
    """What others run for this server. Their secrets are in files or the environment, so that nothing of them is here."""

    bus: BusAddress | None = None
    """A NATS server or cluster instead of one of our own."""
    database: str | None = None
    """URL of a PostgreSQL database, without password, instead of a file."""
    slurm: SlurmPlan | None = None
    """Workers as pilots in SLURM instead of on this machine."""


@dataclass(frozen=True)
class Running:
    """What is being kept running."""

    address: BusAddress
    supervisor: Supervisor


@asynccontextmanager
async def run_locally(home: Home, plan: LocalPlan, site: Site | None = None) -> AsyncIterator[Running]:
    """Start all that this machine runs; stop it at the end, whatever the end is.

    Raises:
        BadInput: the home cannot be used, or another supervisor works in it.
    """
    home.prepare()
    async with hold_lock(home.lock) as lock:
        site = site or Site()
        launcher = make_launcher(home, site.slurm, site.bus) if site.slurm else None
        address = _choose_bus(home, site)
        supervisor = Supervisor()
        try:
            for program in _list_programs(home, plan, site, lock):
                await supervisor.keep(program)
            async with AsyncExitStack() as stack:
                if launcher:
                    await stack.enter_async_context(run_launcher(launcher, address))
                if plan.replicas:
                    template = Program("", _make_worker(home, plan), home.logs, _UNUSABLE, (lock,), _forget_secrets())
                    await stack.enter_async_context(open_replicas(address, Replicas(supervisor, home, template)))
                yield Running(address, supervisor)
        finally:
            await supervisor.stop()
            shutil.rmtree(home.work / WORKER_NAME, ignore_errors=True)  # of a worker too busy to clear up in time


def _choose_bus(home: Home, site: Site) -> BusAddress:
    if site.bus is None:
        (home.bus / ADDRESS_FILE).unlink(missing_ok=True)
        return write_configuration(home.bus_configuration)
    write_address(home.bus / ADDRESS_FILE, site.bus)
    return site.bus


def _list_programs(home: Home, plan: LocalPlan, site: Site, lock: int) -> list[Program]:
    place = ["--home", str(home.root), "--state", str(home.state)]
    python = [sys.executable, "-m"]
    server = [*python, "magellon.platform.server", *place, "--policy", plan.policy]
    worker = [*_make_worker(home, plan), "--name", WORKER_NAME, "--slots", str(plan.slots)]
    if plan.replicas:
        worker += ["--assignments", str(locate_assignments(home))]
    programs = []
    if site.bus is None:
        bus = [str(find_nats_server()), "-c", str(home.bus_configuration)]
        programs.append(Program(BUS, bus, home.logs / "bus.log", pass_fds=(lock,)))
    if plan.web is not None:
        server += ["--web", plan.web]
    if site.database is not None:
        server += ["--database", site.database]
    programs.append(Program(SERVER, server, home.logs / "server.log", _UNUSABLE, pass_fds=(lock,)))
    if plan.local_workers:
        programs.append(Program(WORKER, worker, home.logs / "worker.log", _UNUSABLE, (lock,), _forget_secrets()))
    return programs


def _forget_secrets() -> dict[str, str]:
    """A worker runs what plugins bring: the ledger's password is not for them."""
    return {name: value for name, value in os.environ.items() if not name.startswith(URL_VARIABLE)}


def _make_worker(home: Home, plan: LocalPlan) -> list[str]:
    """A worker's command without name, slots and backends."""
    place = ["--home", str(home.root), "--state", str(home.state)]
    how = ["--threads", str(plan.threads), "--device", plan.device, "--beat", str(plan.beat)]
    return [sys.executable, "-m", "magellon.platform.worker", *place, *how]
