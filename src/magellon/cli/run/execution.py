"""Run the items in warm child processes over the cores, as the pipeline's workers do."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from magellon.cli.catalogue import find_plugins
from magellon.cli.run.inputs import Item, with_inputs_absolute
from magellon.cli.run.request import Request
from magellon.contracts import CONTRACTS, Record
from magellon.platform.pipeline.identity import derive_seed
from magellon.platform.pipeline.plan import PlannedStep
from magellon.platform.worker.children import Children, PythonFinder
from magellon.platform.worker.requests import Done, Listener, TaskFailure
from magellon.platform.worker.requests import Request as Task


@dataclass(frozen=True)
class Finished:
    """An item that went well."""

    item: Item
    output: Record
    """Paths lie in the output folder."""
    warnings: tuple[str, ...] = ()
    """What the backend warned of."""


@dataclass(frozen=True)
class Failed:
    """An item that did not, or a file that could not become one."""

    name: str
    kind: str
    message: str
    traceback: str = ""


Outcome = Finished | Failed


class Watch(Protocol):
    """Sees items at work and how they end."""

    def see_progress(self, name: str, fraction: float, message: str) -> None: ...

    def see_log(self, name: str, line: str) -> None: ...

    def see_end(self, outcome: Outcome) -> None: ...


@dataclass(frozen=True)
class Slots:
    """How the cores are filled: this many children, each with this many threads."""

    children: int
    threads: int


def fill_cores(items: int, jobs: int | None, threads: int | None) -> Slots:
    """One child per core while there are items for them; the cores left over become threads of each."""
    cores = len(os.sched_getaffinity(0))
    children = min(jobs or max(cores // (threads or 1), 1), items)
    return Slots(children, threads or max(cores // children, 1))


@asynccontextmanager
async def open_children(slots: Slots) -> AsyncIterator[list[Children]]:
    """Children that start when they get their first task, and end with the block."""
    finder = PythonFinder(find_plugins())
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Children(finder, slots.threads)) for _ in range(slots.children)]


async def run_items(children: Sequence[Children], items: Sequence[Item], request: Request, watch: Watch) -> list[Outcome]:
    """Run every item; one that fails does not stop the others. Results keep the order of the items."""
    outcomes: dict[int, Outcome] = {}
    queue = iter(enumerate(items))
    with tempfile.TemporaryDirectory(prefix=".running-", dir=request.out) as base:

        async def serve(child: Children) -> None:
            for index, item in queue:
                outcomes[index] = await _run_one(child, item, request, Path(base) / str(index), _listen(watch, item.name))
                watch.see_end(outcomes[index])

        async with asyncio.TaskGroup() as group:
            for child in children:
                group.create_task(serve(child))
    return [outcomes[index] for index in range(len(items))]


def _listen(watch: Watch, name: str) -> Listener:
    def listen(kind: str, fraction: float, text: str) -> None:
        if kind == "progress":
            watch.see_progress(name, fraction, text)
        elif kind == "log":
            watch.see_log(name, text)

    return listen


async def _run_one(child: Children, item: Item, request: Request, workdir: Path, listen: Listener) -> Outcome:
    task = Task(
        category=request.category,
        backend=request.backend,
        params=request.params,
        input=with_inputs_absolute(item.input),
        workdir=str(workdir),
        version=request.version,
        device=request.device,
        threads=child.threads,
        seed=derive_seed(plan_step(request), item.name),
        log=str(workdir.with_suffix(".log")),
    )
    try:
        done = await child.run(task, listen)
    except TaskFailure as failure:
        return Failed(item.name, failure.kind, failure.message, failure.traceback)
    return Finished(item, deliver(done, request, workdir), read_warnings(workdir.with_suffix(".log")))


def read_warnings(log: Path) -> tuple[str, ...]:
    """The warnings in a task's log, which is not there when the backend said nothing."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    parts = [line.split(" ", 3) for line in lines]  # date, time, level, message
    return tuple(part[3] for part in parts if len(part) == 4 and part[2] == "WARNING")


def plan_step(request: Request) -> PlannedStep:
    """As the pipeline sees this run: the same step on the same movie has the same seed."""
    return PlannedStep(
        key=request.category,
        category=request.category,
        backend=request.backend,
        version=request.version,
        params=dict(request.params),
        identity_params=dict(request.identity_params),
        sources={},
    )


def deliver(done: Done, request: Request, workdir: Path) -> Record:
    """Move what a backend wrote into the output folder and return its output record."""
    move_files(workdir, request.out)
    output: dict[str, Any] = done.output
    record: Record = CONTRACTS[request.category].Output.model_validate(output)
    return record.map_paths(lambda path: request.out / path)


def move_files(workdir: Path, out: Path) -> list[Path]:
    """Move everything from one folder into another, replacing an earlier run's files."""
    moved = [path.replace(out / path.name) for path in sorted(workdir.iterdir())]
    return moved
