"""`python -m magellon.platform.worker --home DIR --slots N`: computes what the bus brings, until a signal ends it."""

import argparse
import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from magellon.errors import BadInput, Transient
from magellon.platform.bus.access import find_bus
from magellon.platform.bus.configuration import BusAddress, read_address
from magellon.platform.bus.connection import connect_bus
from magellon.platform.garbage import collect_seldom
from magellon.platform.logs import start_logging
from magellon.platform.store.home import Home
from magellon.platform.store.results import ResultStore
from magellon.platform.store.roots import Roots
from magellon.platform.worker.children import PythonFinder
from magellon.platform.worker.compute import Workshop
from magellon.platform.worker.lifetime import Limits, work_within
from magellon.platform.worker.mount import WrongMount, ask_roots
from magellon.platform.worker.served import Served
from magellon.platform.worker.worker import Worker

log = logging.getLogger("magellon.worker")

WRONG_MOUNT_STATUS = 78
"""EX_CONFIG: starting again would not help."""
_MEMORY_SHARE = 0.8


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--name", default="local", help="one name, one worker")
    parser.add_argument("--slots", type=int, default=os.cpu_count() or 1, help="tasks at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of one task")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--beat", type=float, default=1.0, help="seconds between signs of life")
    parser.add_argument(
        "--root", action="append", default=[], metavar="NAME=DIR", help="where a data root lies on this machine"
    )
    parser.add_argument("--nats", metavar="URL", help="a site's bus; left out, the one in the state folder")
    parser.add_argument("--nats-ca", type=Path, metavar="FILE", help="certificates that vouch for it")
    parser.add_argument("--nats-credentials", type=Path, metavar="FILE", help="what it asks for")
    parser.add_argument("--idle-exit", type=float, metavar="SECONDS", help="leave after so long without a task")
    parser.add_argument("--max-age", type=float, metavar="SECONDS", help="take no task when this old")
    parser.add_argument("--grace", type=float, default=0.0, metavar="SECONDS", help="to finish tasks when leaving")
    parser.add_argument("--backends", default="", help="only these: category/name or category, separated by commas")
    parser.add_argument("--assignments", type=Path, help="the launcher's file of plugins that have workers of their own")
    return parser.parse_args(argv)


def map_roots(items: Sequence[str]) -> dict[str, Path]:
    """`NAME=DIR` of data roots on this machine.

    Raises:
        BadInput: not of that form, or no such folder.
    """
    mapped = {}
    for item in items:
        name, separator, folder = item.partition("=")
        if not separator or not name or not Path(folder).is_dir():
            raise BadInput(f"--root {item}: NAME=DIR, where DIR is a folder of this machine")
        mapped[name] = Path(folder).resolve()
    return mapped


async def work(arguments: argparse.Namespace, address: BusAddress, leave: asyncio.Event) -> None:
    """Until cancelled, or until it is time to leave.

    Raises:
        WrongMount: this machine does not see the server's files.
    """
    home = Home.at(arguments.home, arguments.state)
    mapped = map_roots(arguments.root)
    limits = Limits(arguments.idle_exit, arguments.max_age, arguments.grace)
    workshop = Workshop(
        store=ResultStore(home.results),
        work=home.work / arguments.name,
        logs=home.logs,
        catalogue=home.catalogue,
        device=arguments.device,
        threads=arguments.threads,
        memory=int(psutil.virtual_memory().total * _MEMORY_SHARE / arguments.slots),
    )
    client = await connect_bus(address, arguments.name)

    async def refresh() -> Roots:
        return await ask_roots(client, arguments.name, home, mapped)

    try:
        await refresh()
        workshop.logs.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(workshop.work, ignore_errors=True)  # what an earlier worker of this name left unfinished
        only = tuple(filter(None, arguments.backends.split(",")))
        served = Served(PythonFinder(home.plugins), only, arguments.assignments)
        if only and not served.list_backends():
            raise BadInput(f"no backend {arguments.backends!r} here; there are {', '.join(served.finder.list_all())}")
        worker = Worker(client, arguments.name, workshop, arguments.slots, refresh, served)
        await work_within(worker, arguments.beat, limits, leave)
    finally:
        shutil.rmtree(workshop.work, ignore_errors=True)
        await client.close()


async def work_until_signal(arguments: argparse.Namespace, address: BusAddress) -> int:
    """The first signal drains if there is a time of grace for it, the second hands back at once."""
    leave = asyncio.Event()
    running = asyncio.create_task(work(arguments, address, leave))
    loop = asyncio.get_running_loop()

    def go() -> None:
        if leave.is_set() or not arguments.grace:
            running.cancel()
        leave.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, go)
    try:
        await running
    except asyncio.CancelledError:
        return 0
    except WrongMount as error:
        log.error("%s", error)
        return WRONG_MOUNT_STATUS
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    start_logging()
    collect_seldom()
    home = Home.at(arguments.home, arguments.state)
    try:
        # The environment alone does not choose a bus here: a machine's own server must get its own worker.
        address = find_bus(arguments.nats, arguments.nats_ca, arguments.nats_credentials) if arguments.nats else None
        home.logs.mkdir(parents=True, exist_ok=True)
        return asyncio.run(work_until_signal(arguments, address or read_address(home.bus)))
    except (BadInput, Transient, OSError) as error:
        log.error("%s", error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
