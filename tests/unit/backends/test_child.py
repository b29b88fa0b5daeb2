"""A child computes one task after another, says how each ended, and dies with all it started."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import fake_backends
from magellon.backends.child import choose_device
from magellon.errors import Transient
from magellon.platform.worker.child import Child
from magellon.platform.worker.requests import Displaced, Done, Request, TaskFailure

ENVIRONMENT = {"MAGELLON_EXTRA_BACKENDS": fake_backends.ALL, "PYTHONPATH": str(Path(fake_backends.__file__).parent)}


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[[str], Request]:
    (tmp_path / "a.mrc").write_text("image")
    micrograph = {"name": "a", "path": str(tmp_path / "a.mrc"), "pixel_size": 1.0, "shape": [4, 4]}

    def make(do: str, **changes: Any) -> Request:
        values = {
            "category": "fft", "backend": "naughty", "params": {"do": do}, "input": {"micrograph": micrograph},
            "workdir": str(tmp_path / do), "log": str(tmp_path / "task.log"),
        }  # fmt: skip
        return Request(**{**values, **changes})

    return make


def run(work: Callable[[Child], Coroutine[Any, Any, Any]]) -> Any:
    async def main() -> Any:
        async with Child(environment=ENVIRONMENT) as child:
            return await work(child)

    return asyncio.run(main())


async def failure_of(child: Child, request: Request) -> TaskFailure:
    with pytest.raises(TaskFailure) as caught:
        await child.run(request)
    return caught.value


def test_one_warm_child_serves_many_tasks_and_tells_the_kinds_of_failure_apart(
    tmp_path: Path, request_for: Callable[..., Request]
) -> None:
    async def work(child: Child) -> None:
        done = await child.run(request_for("work"))
        assert done.output == {"picture": "a_fft.png"}
        assert (tmp_path / "work" / "a_fft.png").read_text() == "a"
        pid = child.pid
        expected = {
            "bad": ("bad_input", "at most 2"),
            "transient": ("transient", "later"),
            "full": ("transient", "No space"),
            "bug": ("defect", "ZeroDivisionError"),
            "outside": ("defect", "outside"),
            "nothing": ("defect", "not written"),
            "wrong": ("defect", "FftInput"),
        }
        for do, (kind, words) in expected.items():
            failure = await failure_of(child, request_for(do))
            assert (failure.kind, failure.crashed) == (kind, False), failure
            assert words in failure.message
            assert failure.traceback
        failure = await failure_of(child, request_for("work", params={"do": "work", "speed": 3}))
        assert failure.kind == "bad_input"
        assert "parameter speed = 3" in failure.message
        failure = await failure_of(child, request_for("work", input={}))
        assert failure.kind == "bad_input"
        failure = await failure_of(child, request_for("work", backend="none"))
        assert failure.kind == "bad_input"
        assert child.pid == pid
        assert "about to bug" in (tmp_path / "task.log").read_text()

    run(work)


def test_what_libraries_print_does_not_reach_the_protocol(request_for: Callable[..., Request]) -> None:
    heard: list[tuple[str, float, str]] = []

    async def work(child: Child) -> Done:
        await child.run(request_for("progress"), lambda *event: heard.append(event))
        return await child.run(request_for("print"))

    assert run(work).output == {"picture": "a_fft.png"}
    assert ("progress", 0.5, "half") in heard
    assert ("log", 0.0, "about to progress") in heard


def test_a_crashed_child_is_replaced(request_for: Callable[..., Request]) -> None:
    async def work(child: Child) -> None:
        failure = await failure_of(child, request_for("crash"))
        assert (failure.kind, failure.crashed) == ("defect", True)
        assert "SIGSEGV" in failure.message
        failure = await failure_of(child, request_for("exit"))
        assert "status 3" in failure.message
        assert (await child.run(request_for("work"))).output

    run(work)


@pytest.mark.slow
def test_cancel_kills_the_child_and_the_programs_it_runs(request_for: Callable[..., Request]) -> None:
    async def work(child: Child) -> None:
        await child.run(request_for("work"))
        family = psutil.Process(child.pid)
        running = asyncio.create_task(child.run(request_for("external")))
        deadline = time.monotonic() + 10
        while not family.children() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        members = [family, *family.children()]
        assert len(members) == 2
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not psutil.wait_procs(members, timeout=5)[1]
        assert (await child.run(request_for("work"))).output

    run(work)


def test_a_child_that_takes_too_much_memory_is_killed(request_for: Callable[..., Request]) -> None:
    async def work(child: Child) -> None:
        failure = await failure_of(child, request_for("sleep", memory=-(2 << 30) + 1))
        assert "GiB" in failure.message
        assert failure.crashed

    run(work)


class _Begun:
    """Tasks in the order they began, by the log they share."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def list_all(self) -> list[str]:
        return [line.split()[-1] for line in self._log.read_text().splitlines()] if self._log.exists() else []

    async def wait_for(self, do: str) -> None:
        async with asyncio.timeout(10):
            while do not in self.list_all():
                await asyncio.sleep(0.01)


@pytest.fixture
def begun(tmp_path: Path) -> _Begun:
    return _Begun(tmp_path / "task.log")


async def give(child: Child, *requests: Request) -> "list[asyncio.Task[Done]]":
    """Have them all wait in the child, which is halted meanwhile; it has worked before."""
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    given = [asyncio.create_task(child.run(request)) for request in requests]
    await asyncio.sleep(0)
    return given


def go_on(child: Child) -> None:
    assert child.pid is not None
    os.kill(child.pid, signal.SIGCONT)


def test_tasks_wait_in_a_child_for_their_turn(request_for: Callable[..., Request], begun: _Begun) -> None:
    async def work(child: Child) -> None:
        await child.run(request_for("first"))
        pid = child.pid
        given = await give(child, request_for("second"), request_for("bug"), request_for("third"))
        assert child.seconds_at_work > 0
        go_on(child)
        ends = await asyncio.gather(*given, return_exceptions=True)
        assert [type(end) for end in ends] == [Done, TaskFailure, Done]
        assert begun.list_all() == ["first", "second", "bug", "third"]
        assert child.pid == pid
        assert child.seconds_at_work == 0

    run(work)


def test_a_task_that_waits_is_cancelled_and_the_others_go_on(request_for: Callable[..., Request], begun: _Begun) -> None:
    async def work(child: Child) -> None:
        await child.run(request_for("first"))
        pid = child.pid
        before, unwanted, after = await give(child, *map(request_for, ("second", "never", "third")))
        unwanted.cancel()
        await asyncio.wait({unwanted})
        go_on(child)
        await before
        await after
        await child.run(request_for("fourth"))
        assert begun.list_all() == ["first", "second", "third", "fourth"]
        assert child.pid == pid

    run(work)


@pytest.mark.parametrize("how", ["crash", "cancel"])
def test_only_the_task_at_work_goes_down_with_a_child(request_for: Callable[..., Request], begun: _Begun, how: str) -> None:
    async def work(child: Child) -> None:
        await child.run(request_for("first"))
        guilty, innocent = await give(child, request_for("crash" if how == "crash" else "sleep"), request_for("second"))
        go_on(child)
        if how == "cancel":
            await begun.wait_for("sleep")
            guilty.cancel()
        fate, other = await asyncio.gather(guilty, innocent, return_exceptions=True)
        assert isinstance(fate, asyncio.CancelledError) if how == "cancel" else "SIGSEGV" in str(fate)
        assert isinstance(other, Displaced)
        assert (await child.run(request_for("second"))).output, "in another process"
        assert begun.list_all().count("second") == 1

    run(work)


def test_what_waits_for_a_long_task_can_go_elsewhere(request_for: Callable[..., Request], begun: _Begun) -> None:
    async def work(child: Child) -> None:
        long = asyncio.create_task(child.run(request_for("sleep")))
        await begun.wait_for("sleep")
        waiting = [asyncio.create_task(child.run(request_for(do))) for do in ("second", "third")]
        await asyncio.sleep(0)
        child.put_off_waiting()
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [Displaced, Displaced]
        assert not long.done()
        long.cancel()
        await asyncio.wait({long})
        assert begun.list_all() == ["sleep"]

    run(work)


def test_a_child_that_is_gone_displaces_nothing_and_a_late_cancel_is_one(request_for: Callable[..., Request]) -> None:
    async def work(child: Child) -> None:
        await child.run(request_for("first"))
        (late,) = await give(child, request_for("second"))
        life = child._life
        assert life is not None
        ending = asyncio.create_task(life.end())
        while life._asked:  # until it is told, and before it hears of it
            await asyncio.sleep(0)
        late.cancel()
        await asyncio.wait({late, ending})
        assert late.cancelled()
        child.put_off_waiting()
        assert (await child.run(request_for("third"))).output

    run(work)


@pytest.mark.slow
def test_no_process_is_left_when_the_parent_is_killed(request_for: Callable[..., Request]) -> None:
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:

        async def work() -> None:
            child = Child(environment=ENVIRONMENT)
            await child.run(request_for("work"))
            os.write(writing, str(child.pid).encode())
            await child.run(request_for("sleep"))

        asyncio.run(work())
        os._exit(0)
    child = psutil.Process(int(os.read(reading, 20)))
    os.kill(parent, 9)
    os.waitpid(parent, 0)
    assert not psutil.wait_procs([child], timeout=5)[1]


def test_a_gpu_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(Transient, match=r"device cuda: there is no such GPU: torch finds none"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [choose_device(word) for word in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(Transient, match=r"device cuda:2: there is no such GPU: torch finds 2 here, counted from 0"):
        choose_device("cuda:2")
