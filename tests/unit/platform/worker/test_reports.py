"""What a worker tells of its tasks: that they begin and how they end; where they end at once, only the end."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from nats.aio.client import Client

from magellon.contracts.task import Failed, Finished, Started, Task
from magellon.errors import BadInput
from magellon.platform.bus.configuration import find_nats_server, write_configuration
from magellon.platform.bus.connection import connect_bus
from magellon.platform.bus.pull import Puller
from magellon.platform.bus.streams import (
    EVENTS,
    LEDGER_CONSUMER,
    TASKS,
    consumer_name,
    ensure_streams,
    ensure_task_consumer,
    task_subject,
)
from magellon.platform.server.events import read_events
from magellon.platform.store.roots import Roots
from magellon.platform.worker import worker as module
from magellon.platform.worker.children import PythonFinder
from magellon.platform.worker.compute import Workshop
from magellon.platform.worker.requests import Displaced, TaskFailure
from magellon.platform.worker.served import Served
from magellon.platform.worker.worker import Worker

LANE = ("fft", "fake")
Report = Started | Finished | Failed
Act = Callable[[Client, Worker], Awaitable[None]]


class _Children:
    seconds_at_work = 0.0

    async def warm(self, keys: tuple[str, ...]) -> None:
        pass

    async def __aenter__(self) -> "_Children":
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass


class _Served:
    only = ()
    finder = PythonFinder(None)

    def list_backends(self) -> tuple[str, ...]:
        return ("/".join(LANE),)


class _Workshop:
    def is_there(self) -> bool:
        return True

    def clear_leftovers(self, busy: object) -> None:
        pass


def make_task(number: int, seconds: float, params: dict[str, Any] | None = None) -> Task:
    return Task(
        id=number, attempt=1, identity=f"{number:064d}", category=LANE[0], backend=LANE[1], version=1, label="a task",
        params={"seconds": seconds, **(params or {})}, input=None, seed=0,
    )  # fmt: skip


async def compute(workshop: object, child: object, task: Task, roots: Roots, listen: object) -> Any:
    await asyncio.sleep(task.params["seconds"])
    if task.params.get("fails"):
        raise TaskFailure("unheard of", "why")
    return {"picture": "m.png"}, {"seconds": task.params["seconds"]}


@asynccontextmanager
async def open_bus(folder: Path) -> AsyncIterator[Client]:
    folder.mkdir()
    address = write_configuration(folder / "nats.conf")
    argv = [str(find_nats_server()), "-c", str(folder / "nats.conf")]
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = await connect_bus(address, "test")
        try:
            await ensure_streams(client)
            await ensure_task_consumer(client, *LANE)
            yield client
        finally:
            await client.close()
    finally:
        server.kill()
        server.wait()


async def hear(client: Client, wanted: int, patience: float = 5.0) -> list[Report]:
    """So many reports, and whatever comes within a moment after them."""
    reports: list[Report] = []
    puller = Puller(client, EVENTS)
    async with asyncio.timeout(patience):
        while len(reports) < wanted:
            reports += await _take_reports(puller)
    await asyncio.sleep(0.2)
    return reports + await _take_reports(puller)


async def _take_reports(puller: Puller) -> list[Report]:
    reports: list[Report] = []
    for message in await puller.take_now(LEDGER_CONSUMER, 10):
        reports += read_events(message.data)
        await message.ack()
    await asyncio.sleep(0.02)
    return reports


def work(folder: Path, monkeypatch: pytest.MonkeyPatch, act: Act, slots: int = 1) -> None:
    """A worker on a bus of its own, whose tasks sleep, while `act` happens."""
    monkeypatch.setattr(module, "compute_task", compute)
    monkeypatch.setattr(Worker, "_open_children", lambda self, slot: _Children())

    async def refresh() -> Roots:
        return Roots({})

    async def run() -> None:
        async with open_bus(folder / "bus") as client:
            worker = Worker(client, "w", cast(Workshop, _Workshop()), slots, refresh, cast(Served, _Served()))
            working = asyncio.create_task(worker.run(1.0))
            try:
                await act(client, worker)
            finally:
                await stop(working)
            assert await count_unacknowledged(client) == 0

    asyncio.run(run())


async def stop(working: "asyncio.Task[None]") -> None:
    working.cancel()
    await asyncio.wait({working})


async def count_unacknowledged(client: Client) -> int:
    for _ in range(20):
        left = (await client.jetstream().consumer_info(TASKS, consumer_name(*LANE))).num_ack_pending or 0
        if not left:
            return 0
        await asyncio.sleep(0.05)
    return left


async def give(client: Client, *tasks: Task) -> None:
    for task in tasks:
        await client.jetstream().publish(task_subject(*LANE), task.model_dump_json().encode())
    await client.publish("wake", task_subject(*LANE).encode())


def name_reports(reports: list[Report]) -> list[tuple[str, int]]:
    return [(report.event, report.task) for report in reports]


def test_where_tasks_end_at_once_only_the_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(client: Client, worker: Worker) -> None:
        await give(client, make_task(7, 0.0))
        assert name_reports(await hear(client, 2)) == [("started", 7), ("finished", 7)], "nothing is known of its backend yet"
        await give(client, make_task(1, 0.0), make_task(2, 0.3))
        reports = await hear(client, 3)
        assert name_reports(reports) == [("finished", 1), ("started", 2), ("finished", 2)]
        assert reports[1] == Started(task=2, attempt=1, worker="w", incarnation=worker.incarnation)
        assert reports[2].output == {"picture": "m.png"}  # type: ignore[union-attr]

    work(tmp_path, monkeypatch, act)


def test_a_task_that_was_tried_before_is_announced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(client: Client, worker: Worker) -> None:
        worker.drain()  # so that another one has it first, and gives it back
        await give(client, make_task(1, 0.0))
        (message,) = await Puller(client, TASKS).take_now(consumer_name(*LANE), 1)
        await message.nak()
        again = Worker(client, "v", worker._workshop, 1, worker._refresh_roots, worker._served)
        working = asyncio.create_task(again.run(1.0))
        reports = await hear(client, 2)
        assert name_reports(reports) == [("started", 1), ("finished", 1)]
        assert reports[0] == Started(task=1, attempt=1, worker="v", incarnation=again.incarnation, lost=1)
        await give(client, make_task(2, 0.0).model_copy(update={"attempt": 2}))
        assert name_reports(await hear(client, 2)) == [("started", 2), ("finished", 2)]
        await stop(working)

    work(tmp_path, monkeypatch, act)


def test_a_failure_without_a_known_kind_is_a_defect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(client: Client, worker: Worker) -> None:
        await give(client, make_task(1, 0.0, {"fails": True}))
        report = (await hear(client, 2))[1]
        assert report == Failed(task=1, attempt=1, worker="w", kind="defect", message="why")

    work(tmp_path, monkeypatch, act)


def test_a_cancelled_task_ends_and_the_slot_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(client: Client, worker: Worker) -> None:
        await give(client, make_task(1, 60.0))
        await hear(client, 1)
        await client.publish("cancel.w", b"1.1")
        (report,) = await hear(client, 1)
        assert (report.event, report.task) == ("failed", 1)
        assert report == Failed(task=1, attempt=1, worker="w", kind="cancelled", message="cancelled")
        await give(client, make_task(2, 0.0))
        assert name_reports(await hear(client, 2)) == [("started", 2), ("finished", 2)]

    work(tmp_path, monkeypatch, act)


def test_a_worker_that_is_stopped_gives_back_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(client: Client, worker: Worker) -> None:
        second = Worker(client, "v", worker._workshop, 1, worker._refresh_roots, worker._served)
        worker.drain()
        working = asyncio.create_task(second.run(1.0))
        await give(client, make_task(1, 60.0))
        assert name_reports(await hear(client, 1)) == [("started", 1)]
        await stop(working)
        (report,) = await hear(client, 1)
        assert report == Failed(task=1, attempt=1, worker="v", kind="cancelled", message="the worker was stopped")

    work(tmp_path, monkeypatch, act)


def test_the_children_that_worked_last_are_the_first_to_work_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(client: Client, worker: Worker) -> None:
        used: list[object] = []

        async def note(workshop: object, children: object, *rest: Any) -> Any:
            used.append(children)
            return await compute(workshop, children, *rest)

        monkeypatch.setattr(module, "compute_task", note)
        for number in range(4):
            await give(client, make_task(number, 0.0))
            await hear(client, 1)
        assert len(used) == 4
        assert len(set(used)) == 1, "whichever slot had the task"

    work(tmp_path, monkeypatch, act, slots=3)


def test_a_displaced_task_gets_children_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(client: Client, worker: Worker) -> None:
        used: dict[int, list[object]] = {2: [], 3: []}

        again = asyncio.Event()

        async def displace_once(workshop: object, children: object, task: Task, *rest: Any) -> Any:
            if task.id in used:
                used[task.id].append(children)
                if task.id == 2:  # it is at work until the other one has begun again
                    await again.wait()
                elif len(used[3]) == 2:
                    again.set()
                else:
                    while not used[2]:
                        await asyncio.sleep(0.01)
                    raise Displaced
            return await compute(workshop, children, task, *rest)

        monkeypatch.setattr(module, "compute_task", displace_once)
        monkeypatch.setattr(worker._lanes, "places", 1)
        await give(client, make_task(1, 0.0))
        await hear(client, 2)
        await give(client, make_task(2, 0.0), make_task(3, 0.0))
        reports = await hear(client, 2)
        while ("finished", 3) not in name_reports(reports):
            reports += await hear(client, 1)
        assert used[2][0] is used[3][0], "such tasks end at once"
        assert used[3][1] is not used[3][0]

    work(tmp_path, monkeypatch, act, slots=2)


def test_the_same_computation_is_done_once_for_all_who_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(client: Client, worker: Worker) -> None:
        first = make_task(1, 0.4)
        await give(client, first, first.model_copy(update={"id": 2}))
        reports = await hear(client, 4)
        assert sorted(name_reports(reports)) == [("finished", 1), ("finished", 2), ("started", 1), ("started", 2)]

    work(tmp_path, monkeypatch, act, slots=2)


def test_a_worker_that_ends_by_a_defect_has_told_of_its_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the ledger counts the loss."""

    async def fail(*arguments: object) -> None:
        raise RuntimeError("no such thing")

    async def run() -> None:
        async with open_bus(tmp_path / "bus") as client:
            monkeypatch.setattr(module, "compute_task", fail)
            monkeypatch.setattr(Worker, "_open_children", lambda self, slot: _Children())

            async def refresh() -> Roots:
                return Roots({})

            worker = Worker(client, "w", cast(Workshop, _Workshop()), 1, refresh, cast(Served, _Served()))
            working = asyncio.create_task(worker.run(1.0))
            await give(client, make_task(1, 0.0))
            with pytest.raises(ExceptionGroup, match="unhandled errors"):
                await asyncio.wait_for(working, 5)
            assert set(name_reports(await hear(client, 1))) == {("started", 1)}

    asyncio.run(run())


def test_a_worker_for_backends_that_are_not_here_does_not_start() -> None:
    class Nothing(_Served):
        only = ("nobody",)

        def list_backends(self) -> tuple[str, ...]:
            return ()

    async def refresh() -> Roots:
        return Roots({})

    worker = Worker(Client(), "w", cast(Workshop, _Workshop()), 1, refresh, cast(Served, Nothing()))
    with pytest.raises(BadInput, match="no backend of nobody"):
        asyncio.run(worker.run(1.0))
