"""What dies is started again; what cannot be kept running ends the whole; nothing is left."""

import asyncio
import sys
from pathlib import Path

import psutil
import pytest

from magellon.errors import BadInput, Transient
from magellon.platform.launch.lock import hold_lock
from magellon.platform.launch.supervisor import Program, Supervisor

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_a_killed_program_is_started_again_and_all_are_stopped(tmp_path: Path) -> None:
    async def work() -> None:
        supervisor = Supervisor()
        await supervisor.keep(Program("one", SLEEP, tmp_path / "one.log"))
        first = psutil.Process(supervisor.pids["one"])
        first.kill()
        while supervisor.pids.get("one") in (None, first.pid):
            await asyncio.sleep(0.02)
        second = psutil.Process(supervisor.pids["one"])
        assert supervisor.restarts == {"one": 1}
        await supervisor.stop()
        assert not psutil.wait_procs([second], timeout=3)[1]

    asyncio.run(work())


def test_whoever_watches_is_told_why_something_is_started_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        supervisor = Supervisor()
        argv = [sys.executable, "-c", "import sys; print('a line before'); sys.exit('no database at 127.0.0.1:1')"]
        await supervisor.keep(Program("server", argv, tmp_path / "log"))
        while not supervisor.restarts:
            await asyncio.sleep(0.02)
        await supervisor.stop()

    asyncio.run(work())
    assert "server ended with status 1 and is started again: no database at 127.0.0.1:1" in caplog.text


def test_a_program_that_says_it_is_hopeless_ends_the_whole(tmp_path: Path) -> None:
    async def work() -> None:
        supervisor = Supervisor()
        argv = [sys.executable, "-c", "import sys; sys.exit('no such mount')"]
        await supervisor.keep(Program("worker", argv, tmp_path / "log", final_statuses=frozenset({1})))
        with pytest.raises(Transient, match="worker ended with status 1: no such mount"):
            await asyncio.wait_for(supervisor.wait_for_failure(), 10)
        await supervisor.stop()

    asyncio.run(work())


def test_a_state_folder_has_one_holder(tmp_path: Path) -> None:
    async def work() -> None:
        async with hold_lock(tmp_path / "lock"):
            with pytest.raises(BadInput, match="another magellon"):
                async with hold_lock(tmp_path / "lock", patience=0.1):
                    pass
        async with hold_lock(tmp_path / "lock", patience=0.1):
            pass

    asyncio.run(work())


def test_what_is_not_vital_is_given_up_alone_with_its_last_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magellon.platform.launch.supervisor._GIVE_UP_AFTER", 3)
    monkeypatch.setattr("magellon.platform.launch.supervisor._SHORTEST_DELAY", 0.01)

    async def work() -> None:
        supervisor = Supervisor()
        await supervisor.keep(Program("one", SLEEP, tmp_path / "one.log"))
        crash = Program("two", ["sh", "-c", "echo no GPU; exit 3"], tmp_path / "two.log", vital=False, plugin="acme")
        await supervisor.keep(crash)
        while supervisor.list_states()[1].condition != "given up":
            await asyncio.sleep(0.01)
        one, two = supervisor.list_states()
        assert (one.condition, one.restarts, one.plugin) == ("running", 0, "")
        assert (two.plugin, two.restarts, two.reason) == ("acme", 2, "ended with status 3: no GPU")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(supervisor.wait_for_failure(), 0.05)
        await supervisor.keep(Program("two", SLEEP, tmp_path / "two.log", vital=False, plugin="acme"))
        two = supervisor.list_states()[1]
        assert (two.condition, two.restarts, two.reason) == ("running", 0, ""), "asked for again, it starts anew"
        process = psutil.Process(two.pid)
        await supervisor.drop("two")
        assert not psutil.wait_procs([process], timeout=3)[1]
        assert [state.name for state in supervisor.list_states()] == ["one"]
        await supervisor.stop()

    asyncio.run(work())
