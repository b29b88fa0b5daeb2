"""How many tasks a second come from pending to completed in the ledger, with backends that return at once and warm children.

Everything is as in production: bus, server and worker are processes of their own, every result is promoted, reported,
acknowledged and linked into the session's folder.

Two cores shared with other machines, nothing else running, a new ext4 file system: 1,410 tasks a second of 5,000 and 1,400 of
10,000; 1.0 to 1.2 ms of processor time a task, of which the server took 0.4, the worker 0.4, the computing processes 0.2,
the bus 0.1. Three runs one after the other while other work was halted, the same way: 1,250, 1,220 and 1,300 of 5,000,
1,210, 1,260 and 1,270 of 10,000. By hand, in memory, in turn with the version before short tasks were written ahead, 6,000
tasks: 1,398, 1,193 and 1,416 a second; that one 1,356, 973 and 1,359.

The file system decides as much as the engine. In the temporary folder of a disk in use 1,450 and 1,430 a second, and run again
at once, where the files of that run had just been removed, 879 and 980: ext4 looks at each place that was given up in the
last minutes whenever it makes a file (`recently_deleted` and `find_get_block` in a profile of the kernel), and a task makes
four files and a folder. So the cost of a new file is given beside each row, and `--work FOLDER` keeps the files of a run
that is to be repeated.
"""

import asyncio
import json
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select

from benchmarks import instant_backends
from benchmarks.table import Row
from magellon.platform.bus.connection import connect_bus
from magellon.platform.launch.local import SERVER, LocalPlan, run_locally
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.process import ask_server
from magellon.platform.server.submitting import Submission
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import tasks

SLOTS = 16
_FIRST = 40
"""Movies of a session before the one that is measured, so that each child has loaded the backends."""
_PROBES = 300
_QUIET, _IDLE = 4.0, 0.05
"""Seconds without more than so much processor time after which children count as warm."""


@dataclass(frozen=True)
class Load:
    """A session of so many movies with so many steps each."""

    movies: int
    steps: int

    @property
    def tasks(self) -> int:
        return self.movies * self.steps


@dataclass(frozen=True)
class Measured:
    """What a load cost."""

    seconds: float
    """From the first task begun to the last one completed, by the ledger."""
    cpu_seconds: float
    """With the submission, without the start of the processes."""
    server_megabytes: float
    processes: dict[str, float]
    """CPU seconds by kind of process."""


def write_session(folder: Path, movies: int) -> None:
    """Movies of two frames of eight by eight pixels."""
    (folder / "movies").mkdir(parents=True)
    header = struct.pack("<10i", 8, 8, 2, 0, 0, 0, 0, 8, 8, 2) + struct.pack("<3f", 8, 8, 2) + bytes(12)
    header = (header + struct.pack("<3i", 1, 2, 3)).ljust(208, b"\0") + b"MAP " + bytes([0x44, 0x44, 0, 0])
    for number in range(movies):
        (folder / f"movies/m{number:06d}.mrc").write_bytes(header.ljust(1024, b"\0") + bytes(128))
    (folder / "session.json").write_text(json.dumps({"name": "load", "movies": "movies/*.mrc", "pixel_size": 1}))


def make_recipe(steps: int) -> Recipe:
    """Motion correction and as many power spectra as are wanted."""
    named: dict[str, Any] = {"motion_correction": {"backend": "instant"}}
    named |= {
        f"fft{number}": {"category": "fft", "backend": "instant", "params": {"salt": number}} for number in range(1, steps)
    }
    return Recipe.model_validate({"steps": named})


def time_new_file(folder: Path) -> float:
    """Seconds that the file system takes to make an empty file. They stay: to remove them would make the next ones slower."""
    folder.mkdir(parents=True)
    began = time.perf_counter()
    for number in range(_PROBES):
        (folder / str(number)).touch()
    return (time.perf_counter() - began) / _PROBES


async def work_through(folder: Path, load: Load) -> Measured:
    home = Home.at(folder / "home")
    home.prepare()
    recipe = make_recipe(load.steps)
    submission = Submission(folder=str(folder / "load"), recipe=recipe, request="load")
    first = Submission(folder=str(folder / "first"), recipe=recipe, request="first")
    write_session(folder / "first", _FIRST)
    async with run_locally(home, LocalPlan(slots=SLOTS)) as running:
        client = await connect_bus(running.address, "benchmark")
        try:
            await wait_until_warm()
            warming = int(await ask_server(client, "api.submit", first.model_dump_json().encode()))
            while not await asyncio.to_thread(is_done, home, warming, Load(_FIRST, load.steps)):
                await asyncio.sleep(0.5)
            before = measure_processes()
            job = int(await ask_server(client, "api.submit", submission.model_dump_json().encode()))
            while not await asyncio.to_thread(is_done, home, job, load):
                await asyncio.sleep(0.5)
            processes = {kind: used - before[kind] for kind, used in measure_processes().items()}
            peak = _read_peak(running.supervisor.pids[SERVER])
        finally:
            await client.close()
    began, ended = read_times(home, job)
    return Measured(ended - began, sum(processes.values()), peak, processes)


async def wait_until_warm(patience: float = 120.0) -> None:
    """Until all children are there and have nothing more to import."""
    deadline = time.monotonic() + patience
    used, since = -1.0, time.monotonic()
    while time.monotonic() < deadline and time.monotonic() - since < _QUIET:
        now = measure_processes()
        if now["children"] - used > _IDLE or count_children() < SLOTS:
            used, since = now["children"], time.monotonic()
        await asyncio.sleep(0.5)


def count_children() -> int:
    """Computing processes."""
    return sum("magellon.backends.child" in process.cmdline() for process in psutil.Process().children(recursive=True))


def is_done(home: Home, job: int, load: Load) -> bool:
    return count_completed(home, job) == load.tasks


def count_completed(home: Home, job: int) -> int:
    """Completed tasks of a job."""
    ledger = Ledger.at(home.ledger)
    with ledger.engine.connect() as connection:
        query = select(func.count()).where(tasks.c.job_id == job, tasks.c.state == "completed")
        number = connection.execute(query).scalar_one()
    ledger.close()
    return int(number)


def read_times(home: Home, job: int) -> tuple[float, float]:
    ledger = Ledger.at(home.ledger)
    with ledger.engine.connect() as connection:
        query = select(func.min(tasks.c.started_at), func.min(tasks.c.finished_at), func.max(tasks.c.finished_at))
        began, first, ended = connection.execute(query.where(tasks.c.job_id == job)).one()
    ledger.close()
    return began or first, ended


def measure_processes() -> dict[str, float]:
    kinds = {"nats-server": "bus", "platform.server": "server", "platform.worker": "worker", "backends.child": "children"}
    used = dict.fromkeys(kinds.values(), 0.0)
    for process in psutil.Process().children(recursive=True):
        words = " ".join(process.cmdline())
        for mark, kind in kinds.items():
            if mark in words:
                times = process.cpu_times()
                used[kind] += times.user + times.system
                break
    return used


def _read_peak(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def run(work: Path, quick: bool) -> list[Row]:
    os.environ["MAGELLON_EXTRA_BACKENDS"] = instant_backends.ALL
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    loads = [Load(200, 5)] if quick else [Load(1000, 5), Load(1000, 10)]
    rows = []
    for load in loads:
        folder = work / f"{load.tasks}"
        write_session(folder / "load", load.movies)
        new_file = time_new_file(folder / "probe")
        start = time.perf_counter()
        measured = asyncio.run(work_through(folder, load))
        whole = time.perf_counter() - start
        shares = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in measured.processes.items())
        rows.append(
            Row(
                step="dispatch",
                program=f"magellon, {load.tasks} tasks",
                data=f"{load.movies} movies x {load.steps} steps, backends that return at once",
                items=load.tasks,
                seconds=measured.seconds / load.tasks,
                cpu_seconds=measured.cpu_seconds / load.tasks,
                peak_megabytes=measured.server_megabytes,
                accuracy={"tasks/s": load.tasks / measured.seconds},
                threads=SLOTS,
                note=f"memory is the server's; CPU time in all: {shares}; with start and import {whole:.0f} s; a new file "
                f"takes {1e6 * new_file:.0f} µs; machine load {os.getloadavg()[0]:.1f}",
            )
        )
    return rows
