"""A job of 100,000 tasks while 20 people look at it and 50 workers are registered: how long answers take, the server's memory.

Everything is as `magellon up` starts it. Backends return at once, so that the engine does far more in a second than with real
ones; one worker with 16 warm children does the work, the others are there.

Two cores shared with other machines, nothing else running, one run: answers' 95th percentile is 72 ms while the job runs as
fast as it can and 91 ms while the session's 10,000 movies come in (66 and 74 ms at the pace of 20 microscopes). Meanwhile
148 tasks end in a second, 925 after people have left. The server takes 170 MB at first and 238 MB at the end.
"""

import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil

from benchmarks import instant_backends
from benchmarks.dispatch import (
    SLOTS,
    Load,
    count_completed,
    is_done,
    measure_processes,
    read_times,
    wait_until_warm,
    write_session,
)
from benchmarks.load_clients import CLIENTS, PAGES, PROBE
from benchmarks.table import Row
from magellon.platform.bus.configuration import read_address
from magellon.platform.bus.connection import connect_bus
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.process import ask_server
from magellon.platform.server.submitting import Submission
from magellon.platform.store.home import Home
from magellon.platform.up import Opened, UpOptions, serve

WORKERS = 50
_TIMES = 40
"""Each page is asked for so often."""
_IDLE = "motion_correction/motioncor,ctf_estimation/ctf,particle_picking/dog,particle_extraction/stack-maker,fft/fft"


@dataclass(frozen=True)
class Pace:
    """How fast a job runs, and how long it is watched."""

    task_seconds: float
    people_seconds: float
    """Then people leave."""
    most_seconds: float = float("inf")


FULL_SPEED = Pace(0.0, 90.0)
"""As fast as the engine can, or wants to while people look."""
BUSY_SITE = Pace(0.25, 90.0, 90.0)
"""Sixty tasks a second or so: 20 microscopes of 1,000 movies an hour, ten steps each."""


@dataclass
class Watched:
    """What was seen from outside while the job ran."""

    completed: int = 0
    """Tasks."""
    submitting: tuple[float, float] = (0.0, 0.0)
    """Between these moments the session came in, seconds since 1970."""
    seconds: float = 0.0
    left: tuple[float, int] = (0.0, 0)
    """When people left, in seconds since 1970, and how many tasks were completed then."""
    cpu: dict[str, float] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)
    """The server's resident megabytes, every second."""
    workers: int = 0
    answers: list[tuple[float, str, int, float]] = field(default_factory=list)
    events: int = 0
    costs: dict[str, float] = field(default_factory=dict)
    """The server's processor time for each page, in milliseconds, when it has nothing else to do."""


def make_recipe(steps: int, seconds: float) -> Recipe:
    """Motion correction, CTF and as many power spectra as are wanted; each task sleeps for so many seconds."""
    named: dict[str, Any] = {
        name: {"backend": "instant", "params": {"seconds": seconds}} for name in ("motion_correction", "ctf_estimation")
    }
    named |= {
        f"fft{number}": {"category": "fft", "backend": "instant", "params": {"salt": number, "seconds": seconds}}
        for number in range(1, steps - 1)
    }
    return Recipe.model_validate({"steps": named})


@contextlib.asynccontextmanager
async def open_server(folder: Path) -> Any:
    """`magellon up` within this process, as far as its supervisor goes."""
    opened: asyncio.Future[Opened] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(UpOptions(home=folder / "home", port=0, workers=SLOTS), opened.set_result))
    try:
        while not opened.done() and not serving.done():
            await asyncio.sleep(0.1)
        if serving.done():
            serving.result()
        yield opened.result()
    finally:
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def watch_load(folder: Path, load: Load, pace: Pace) -> Watched:
    recipe = make_recipe(load.steps, pace.task_seconds)
    submission = Submission(folder=str(folder / "load"), recipe=recipe, request="load")
    home = Home.at(folder / "home")
    watched = Watched()
    async with open_server(folder) as opened:
        workers = _start("benchmarks.load_workers", str(home.root), str(WORKERS - 1), _IDLE)
        report = folder / "clients.json"
        clients = _start("benchmarks.load_clients", opened.url, str(opened.token_file), str(report))
        client = await connect_bus(read_address(home.bus), "benchmark")
        try:
            await wait_until_warm()
            watched.workers = await _count_workers(client)
            before = measure_processes()
            start = time.time()
            job = int(await ask_server(client, "api.submit", submission.model_dump_json().encode()))
            watched.submitting = (start, time.time())
            server = _find_server()
            began = time.time()
            while time.time() < began + pace.most_seconds and not await asyncio.to_thread(is_done, home, job, load):
                watched.memory.append(server.memory_info().rss / 2**20)
                if clients.poll() is None and time.time() > began + pace.people_seconds:
                    await asyncio.to_thread(clients.communicate)
                    watched.left = (time.time(), await asyncio.to_thread(count_completed, home, job))
                await asyncio.sleep(1.0)
            after = measure_processes()
            watched.cpu = {kind: after[kind] - before[kind] for kind in after}
            if clients.poll() is None:
                clients.communicate()
                watched.left = (time.time(), await asyncio.to_thread(count_completed, home, job))
            workers.terminate()
            watched.costs = await asyncio.to_thread(cost_pages, opened, server)
        finally:
            clients.kill()
            workers.kill()
            workers.wait()
            await client.close()
    first, last = read_times(home, job)
    watched.seconds, watched.completed = last - first, await asyncio.to_thread(count_completed, home, job)
    said = json.loads(report.read_text())
    watched.answers, watched.events = [tuple(each) for each in said["answers"]], said["events"]
    return watched


def cost_pages(opened: Opened, server: psutil.Process) -> dict[str, float]:
    """What each page costs the server, whatever else the machine does."""
    place = opened.url.rpartition("/")[2]
    connection = http.client.HTTPConnection(place, timeout=120)
    headers = {"Authorization": f"Bearer {opened.token_file.read_text().strip()}"}
    costs = {}
    for page, path in PAGES.items():
        for repeat in range(_TIMES + 1):
            if repeat == 1:  # the first makes what later ones find
                used = sum(server.cpu_times()[:2])
            connection.request("GET", f"/api/v1{path}", headers=headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != HTTPStatus.OK:
                raise RuntimeError(f"{path}: {answer.status}")
        costs[page] = 1000 * (sum(server.cpu_times()[:2]) - used) / _TIMES
    return costs


def _start(module: str, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", module, *arguments], stdin=subprocess.PIPE)


async def _count_workers(client: Any) -> int:
    """Workers whose beat is heard within two seconds."""
    names: set[str] = set()

    async def hear(message: Any) -> None:
        names.add(message.subject)

    heard = await client.subscribe("beat.*", cb=hear)
    await asyncio.sleep(2.5)
    await heard.unsubscribe()
    return len(names)


def _find_server() -> psutil.Process:
    found = (each for each in psutil.Process().children(recursive=True) if "magellon.platform.server" in each.cmdline())
    return next(found)


def _rank(values: Iterable[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def summarise(watched: Watched) -> dict[str, float]:
    """Percentiles over all pages while the session came in and while the job ran, and how long the page that costs nothing
    took at most."""
    started, entered = watched.submitting
    asked = [each for each in watched.answers if each[0] >= started]
    pages = [took for moment, page, _, took in asked if page != PROBE and moment >= entered]
    entering = [took for moment, page, _, took in asked if page != PROBE and moment < entered]
    probes = [(moment, took) for moment, page, _, took in asked if page == PROBE]
    memory = watched.memory or [0.0]
    left, done = watched.left
    later = entered + watched.seconds - left
    return {
        "tasks/s": watched.completed / watched.seconds,
        "while people look": done / (left - entered),
        "afterwards": (watched.completed - done) / later if later > 1.0 else 0.0,
        "answers": float(len(pages)),
        "not 200": float(sum(status != 200 for moment, _, status, _ in asked if moment > entered)),
        "p50 (ms)": _rank(pages, 0.5),
        "p95 (ms)": _rank(pages, 0.95),
        "while submitting p95 (ms)": _rank(entering, 0.95),
        "trivial page p95 (ms)": _rank((took for _, took in probes), 0.95),
        "longest while submitting (ms)": max((took for moment, took in probes if moment < entered), default=0.0),
        "longest afterwards (ms)": max((took for moment, took in probes if moment >= entered), default=0.0),
        "submission (s)": entered - started,
        "server at first (MB)": memory[0],
        "half way (MB)": memory[len(memory) // 2],
        "at the end (MB)": memory[-1],
        "workers": float(watched.workers),
        "events told": float(watched.events),
    }


def list_slowest(watched: Watched) -> str:
    """The pages by their 95th percentile."""
    by_page: dict[str, list[float]] = {}
    for moment, page, _, took in watched.answers:
        if moment >= watched.submitting[1]:
            by_page.setdefault(page, []).append(took)
    slowest = sorted(((_rank(took, 0.95), page) for page, took in by_page.items()), reverse=True)
    return ", ".join(f"{page} {took:.0f} ms" for took, page in slowest)


def run(work: Path, quick: bool) -> list[Row]:
    os.environ["MAGELLON_EXTRA_BACKENDS"] = instant_backends.ALL
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    load = Load(100, 10) if quick else Load(10_000, 10)
    return [
        measure_load(work / name, load, name, pace) for name, pace in (("full speed", FULL_SPEED), ("busy site", BUSY_SITE))
    ]


def measure_load(work: Path, load: Load, name: str, pace: Pace) -> Row:
    work.mkdir(parents=True, exist_ok=True)
    write_session(work / "load", load.movies)
    watched = asyncio.run(watch_load(work, load, pace))
    shares = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in watched.cpu.items())
    costs = ", ".join(f"{page} {cost:.1f} ms" for page, cost in sorted(watched.costs.items(), key=lambda each: -each[1]))
    note = (
        f"CPU time in all: {shares}; CPU time of the server for a page: {costs}; 95th percentiles while the job ran: "
        f"{list_slowest(watched)}; machine load {os.getloadavg()[0]:.1f}"
    )
    return Row(
        step="load",
        program=f"magellon up, {load.tasks} tasks, {name}",
        data=f"{load.movies} micrographs x {load.steps} steps at once, {CLIENTS} clients, {WORKERS} workers",
        items=watched.completed,
        seconds=watched.seconds / max(watched.completed, 1),
        cpu_seconds=sum(watched.cpu.values()) / max(watched.completed, 1),
        peak_megabytes=max(watched.memory, default=0.0),
        accuracy=summarise(watched),
        threads=SLOTS,
        note=note,
    )
