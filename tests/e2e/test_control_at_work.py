"""What people ask of jobs reaches the workers: a real bus and a real worker, the server in this process."""

import asyncio
import contextlib
import gc
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest
from fake_session import make_session, use_fake_backends
from sqlalchemy import select

from magellon.platform.bus.configuration import find_nats_server, write_configuration
from magellon.platform.bus.connection import connect_bus
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.process import ask_server
from magellon.platform.server.book import Book
from magellon.platform.server.control import Control
from magellon.platform.server.dispatcher import Dispatcher
from magellon.platform.server.policy import Policy
from magellon.platform.server.requests import Reception
from magellon.platform.server.submitting import Submission
from magellon.platform.server.watching import Watching
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.results import ResultStore
from magellon.platform.store.schema import tasks

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

POLICY = Policy(beat_interval=0.3, lost_after=4, transient_delay=0.2, reconcile_interval=3)


class Site:
    """A server at hand, to be asked directly."""

    def __init__(self, dispatcher: Dispatcher, worker: psutil.Process) -> None:
        self.dispatcher, self.control, self.worker = dispatcher, Control(dispatcher), worker

    async def submit(self, folder: Path, recipe: dict[str, object]) -> int:
        submission = Submission(folder=str(folder), recipe=Recipe.model_validate({"steps": recipe}), alone=False)
        return int(await ask_server(self.dispatcher.client, "api.submit", submission.model_dump_json().encode()))

    def count(self, step: str, job: int = 1) -> Counter[str]:
        with self.dispatcher.book.ledger.transaction() as connection:
            query = select(tasks.c.state).where(tasks.c.step == step, tasks.c.job_id == job)
            return Counter(connection.execute(query).scalars())

    def find(self, step: str, state: str) -> int:
        with self.dispatcher.book.ledger.transaction() as connection:
            query = select(tasks.c.id).where(tasks.c.step == step, tasks.c.state == state)
            return int(connection.execute(query.limit(1)).scalar_one())

    async def wait_until(self, condition: Callable[[], bool], seconds: float = 60) -> float:
        start = time.monotonic()
        while not condition():
            assert time.monotonic() - start < seconds, "nothing happens"
            await asyncio.sleep(0.02)
        return time.monotonic() - start


def wait_for_port(port: int) -> None:
    while True:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)


def at_work(folder: Path, scenario: Callable[[Site], Awaitable[None]], slots: int = 1) -> None:
    home = Home.at(folder / "home")
    home.prepare()
    address = write_configuration(home.bus_configuration)
    bus = subprocess.Popen([str(find_nats_server()), "-c", str(home.bus_configuration)], stderr=subprocess.DEVNULL)
    wait_for_port(int(address.url.rpartition(":")[2]))
    argv = [sys.executable, "-m", "magellon.platform.worker", "--home", str(home.root), "--slots", str(slots), "--beat", "0.3"]
    worker = subprocess.Popen(argv)

    async def serve() -> None:
        ledger = Ledger.at(home.ledger)
        ledger.migrate()
        client = await connect_bus(address, "server")
        dispatcher = Dispatcher(Book(ledger, home, POLICY, ResultStore(home.results)), client)
        await client.subscribe("beat.*", cb=dispatcher.answer_beat)
        await dispatcher.recover()
        await Reception(dispatcher, Watching(dispatcher)).open()
        running = asyncio.create_task(dispatcher.run())
        try:
            await scenario(Site(dispatcher, psutil.Process(worker.pid)))
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            await client.close()
            ledger.close()

    try:
        asyncio.run(serve())
    finally:
        worker.terminate()
        worker.wait(20)
        bus.kill()
        bus.wait()
        gc.collect()  # connections cut by the bus's end are none of the next test's business


@pytest.fixture(autouse=True)
def _fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
        monkeypatch.setenv(name, "")
    use_fake_backends(tmp_path / "diary")


def test_native_code_that_never_returns_ends_when_it_is_cancelled(tmp_path: Path) -> None:
    session = make_session(tmp_path / "lot", {"a": "fine", "b": "fine"})
    recipe = {"motion_correction": {"backend": "fake"}, "fft": {"backend": "naughty", "params": {"do": "native"}}}

    async def scenario(site: Site) -> None:
        await site.submit(session, recipe)
        await site.wait_until(lambda: site.count("fft")["running"] == 1)
        await asyncio.sleep(0.5)  # it is in the middle of it
        (child,) = site.worker.children()
        await site.control.cancel_task(site.find("fft", "running"))
        assert site.count("fft")["cancelled"] == 1
        assert await site.wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE) < 5
        await site.wait_until(lambda: site.count("fft")["running"] == 1)  # the slot takes the other one
        (child,) = site.worker.children()
        await site.wait_until(lambda: child.cpu_times().user > 2)  # it has started, and is in the middle of it too
        await site.control.cancel_job(1)
        assert await site.wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE) < 5
        assert site.count("fft") == {"cancelled": 2}

    at_work(tmp_path, scenario)


def test_a_paused_job_begins_nothing_and_an_urgent_one_goes_first(tmp_path: Path) -> None:
    batch = make_session(tmp_path / "batch", {f"b{number:02d}": "fine" for number in range(20)}, "batch")
    urgent = make_session(tmp_path / "urgent", {"u0": "fine", "u1": "fine"}, "urgent")
    recipe = {"motion_correction": {"backend": "fake", "params": {"seconds": 0.1}}}

    async def scenario(site: Site) -> None:
        first = await site.submit(batch, recipe)
        await site.wait_until(lambda: site.count("motion_correction")["completed"] >= 2)
        await site.control.pause(first)
        await site.wait_until(lambda: site.count("motion_correction")["running"] == 0)
        await asyncio.sleep(0.5)  # what a slot had taken already comes to its end
        done = site.count("motion_correction")["completed"]
        await asyncio.sleep(1.5)
        assert site.count("motion_correction") == {"completed": done, "pending": 20 - done}
        assert done < 20
        await site.control.resume(first)
        await site.wait_until(lambda: site.count("motion_correction")["completed"] > done)
        second = await site.submit(urgent, recipe)
        await site.control.set_priority(second, 5)
        await site.wait_until(lambda: site.count("motion_correction", second) == {"completed": 2})
        assert site.count("motion_correction", first)["pending"] > 5, "the batch was still waiting"
        await site.wait_until(lambda: site.count("motion_correction", first) == {"completed": 20})

    at_work(tmp_path, scenario)
