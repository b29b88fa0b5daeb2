"""`magellon up`: bus, server and workers kept running, with the HTTP interface, until a signal ends it."""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from magellon.errors import BadInput
from magellon.platform.bus.access import find_bus
from magellon.platform.launch.local import LocalPlan, Site, run_locally
from magellon.platform.launch.slurm import SlurmPlan
from magellon.platform.people.start_token import renew_start_token
from magellon.platform.server.http.settings import ADDRESS_FILE, WebSettings
from magellon.platform.server.policy import Policy
from magellon.platform.store.engines import find_database
from magellon.platform.store.home import Home

DEFAULT_HOME = Path("~/magellon")
DEFAULT_PORT = 8420
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LOOK_AGAIN = 0.05


@dataclass(frozen=True)
class UpOptions:
    """What a person may say to `magellon up`."""

    home: Path = DEFAULT_HOME
    state: Path | None = None
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    """0: any that is free."""
    data: tuple[Path, ...] = ()
    """Folders in which sessions may lie; left out on loopback, any."""
    bus: str | None = None
    bus_ca: Path | None = None
    bus_credentials: Path | None = None
    database: str | None = None
    workers: int | None = None
    """Tasks at a time on this machine; 0: none here."""
    threads: int = 1
    device: str = "auto"
    slurm: SlurmPlan | None = None
    """Workers as pilots; then none on this machine unless `workers` says so."""
    policy: Policy = field(default_factory=Policy)


@dataclass(frozen=True)
class Opened:
    """A server that answers."""

    url: str
    token: str
    token_file: Path


def serve_home(options: UpOptions, greet: Callable[[Opened], None]) -> None:
    """Serve until SIGINT or SIGTERM; `greet` is called once, when requests are answered.

    Raises:
        BadInput: home, port or folders cannot be used.
        Transient: the engine cannot be kept running.
    """
    asyncio.run(_serve_until_signal(options, greet))


async def _serve_until_signal(options: UpOptions, greet: Callable[[Opened], None]) -> None:
    working = asyncio.create_task(serve(options, greet))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, working.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await working


async def serve(options: UpOptions, greet: Callable[[Opened], None]) -> None:
    """The same for those who have an event loop; stopped by cancelling it."""
    home = Home.at(options.home, options.state)
    home.prepare()
    web = plan_web(options, home)
    by_default = 0 if options.slurm else len(os.sched_getaffinity(0))
    slots = by_default if options.workers is None else options.workers
    if slots < 0:
        raise BadInput(f"--workers {slots}: must be at least 0")
    plan = LocalPlan(
        slots=max(slots, 1),
        threads=options.threads,
        device=options.device,
        policy=options.policy.model_dump_json(),
        beat=options.policy.beat_interval,
        local_workers=slots > 0,
        replicas=True,
        web=web.model_dump_json(),
    )
    find_database(options.database)  # says now what is wrong with it
    site = Site(find_bus(options.bus, options.bus_ca, options.bus_credentials), options.database, options.slurm)
    (home.state / ADDRESS_FILE).unlink(missing_ok=True)
    token = renew_start_token(home.state)
    async with run_locally(home, plan, site) as running:
        failure = asyncio.create_task(running.supervisor.wait_for_failure())
        try:
            opening = asyncio.create_task(_wait_until_open(home))
            await asyncio.wait({opening, failure}, return_when=asyncio.FIRST_COMPLETED)
            if opening.done():
                greet(Opened(opening.result(), token, home.state / "token"))
            opening.cancel()
            await failure
        finally:
            failure.cancel()


def plan_web(options: UpOptions, home: Home) -> WebSettings:
    """Where to listen and what may be read.

    Raises:
        BadInput: no such port or address here, or it is to be reached from elsewhere and all folders would be open.
    """
    local = options.host in LOOPBACK
    if not local and not options.data:
        raise BadInput(f"--host {options.host}: say with --data which folders sessions may lie in, as others can reach it")
    for folder in options.data:
        if not folder.expanduser().is_dir():
            raise BadInput(f"--data {folder}: not a folder")
    folders = [str(folder.expanduser().resolve()) for folder in options.data] or ["/"]
    hosts = LOOPBACK if local else tuple(dict.fromkeys((*LOOPBACK, options.host, socket.gethostname(), socket.getfqdn())))
    return WebSettings(host=options.host, port=_find_port(options.host, options.port), data=tuple(folders), hosts=hosts)


def _find_port(host: str, port: int) -> int:
    """The port, tried; the server's process takes it a moment later, and again after each restart."""
    if not 0 <= port <= 65535:
        raise BadInput(f"--port {port}: must lie between 0 and 65535")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadInput(f"cannot listen on {host} port {port}: {error.strerror}; give another --port") from error
        return int(probe.getsockname()[1])


async def _wait_until_open(home: Home) -> str:
    while True:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return str(json.loads((home.state / ADDRESS_FILE).read_bytes())["url"])
        await asyncio.sleep(_LOOK_AGAIN)
