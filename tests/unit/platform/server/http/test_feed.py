"""The live stream: every event once and in order, from where a reader left off, and only what the reader may see."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from magellon.platform.server.http import feed as feed_module
from magellon.platform.server.http.feed import Feed
from magellon.platform.server.http.sse import EventStream
from magellon.platform.server.report import Progress, StepProgress
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import events, jobs, sessions


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    ledger = Ledger.at(tmp_path / "ledger.sqlite")
    ledger.migrate()
    with ledger.transaction() as connection:
        for number in (1, 2):
            connection.execute(sessions.insert().values(id=number, name=f"s{number}", folder=f"/{number}", definition={}))
            connection.execute(jobs.insert().values(id=number, session_id=number, plan={}, active=True, created_at=0.0))
    yield ledger
    ledger.close()


def _happen(ledger: Ledger, *jobs_of_events: int) -> None:
    rows = [{"at": 1.0, "job_id": job, "task_id": 7, "kind": "completed", "text": None} for job in jobs_of_events]
    with ledger.transaction() as connection:
        connection.execute(events.insert(), rows)


async def _numbers(frames: AsyncIterator[bytes], count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        together = (await asyncio.wait_for(anext(frames), 5)).decode()
        found += [int(frame.split("\n")[0][4:]) for frame in together.split("\n\n") if frame.startswith("id: ")]
    return found


def _everything() -> None:
    return None


def test_a_reader_gets_the_past_then_the_present_each_event_once(ledger: Ledger) -> None:
    async def scenario() -> None:
        _happen(ledger, *[1] * 1200)
        feed = Feed(ledger)
        running = asyncio.create_task(feed.run())
        reader = feed.follow(0, _everything)
        assert await _numbers(reader, 1200) == list(range(1, 1201))
        _happen(ledger, 1, 2)
        assert await _numbers(reader, 2) == [1201, 1202]
        resumed = feed.follow(1199, _everything)
        assert await _numbers(resumed, 3) == [1200, 1201, 1202]
        fresh = feed.follow(None, _everything)
        await anext(fresh)
        _happen(ledger, 2)
        assert await _numbers(fresh, 1) == [1203]
        assert await _numbers(reader, 1) == [1203]
        for each in (reader, resumed, fresh):
            await each.aclose()
        running.cancel()

    asyncio.run(scenario())


def test_a_number_beyond_the_end_is_that_of_a_ledger_put_back_and_the_reader_goes_on_from_now(ledger: Ledger) -> None:
    async def scenario() -> None:
        _happen(ledger, 1, 1)
        feed = Feed(ledger)
        running = asyncio.create_task(feed.run())
        reader = feed.follow(7000, _everything)
        await anext(reader)
        _happen(ledger, 2)
        assert await _numbers(reader, 1) == [3]
        await reader.aclose()
        running.cancel()

    asyncio.run(scenario())


def test_a_reader_sees_only_its_sessions_and_is_ended_with_its_right(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "_ASK_AGAIN", 0.0)

    async def scenario() -> None:
        allowed: list[frozenset[int]] = [frozenset({2})]

        def may_see() -> frozenset[int]:
            if not allowed:
                raise PermissionError
            return allowed[0]

        feed = Feed(ledger)
        running = asyncio.create_task(feed.run())
        _happen(ledger, 1, 2, 1, 2)
        reader = feed.follow(0, may_see)
        assert await _numbers(reader, 2) == [2, 4]
        for job in (1, 2):
            feed.hear_progress(Progress(job=job, steps=(StepProgress(step="fft"),), settled=False).model_dump_json().encode())
        told = (await asyncio.wait_for(anext(reader), 5)).decode()
        assert told.startswith("event: progress\n")
        assert "id:" not in told
        assert json.loads(told.split("data: ")[1])["session"] == 2
        allowed.clear()
        _happen(ledger, 2)
        assert [frame async for frame in reader] == []
        running.cancel()

    asyncio.run(scenario())


def test_only_the_newest_progress_waits_for_a_slow_reader(ledger: Ledger) -> None:
    async def scenario() -> None:
        feed = Feed(ledger)
        reader = feed.follow(0, _everything)
        await anext(reader)
        for number in range(100):
            progress = Progress(job=1, steps=(StepProgress(step="fft", completed=number),), settled=False)
            feed.hear_progress(progress.model_dump_json().encode())
        frame = (await asyncio.wait_for(anext(reader), 5)).decode()
        assert json.loads(frame.split("data: ")[1])["steps"][0]["completed"] == 99
        feed.hear_progress(b"nonsense")
        await reader.aclose()

    asyncio.run(scenario())


def test_silence_is_broken_by_comments(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "HEARTBEAT_INTERVAL", 0.01)

    async def scenario() -> list[bytes]:
        reader = Feed(ledger).follow(0, _everything)
        frames = [await asyncio.wait_for(anext(reader), 5) for _ in range(3)]
        await reader.aclose()
        return frames

    assert asyncio.run(scenario()) == [b": beat\n\n"] * 3


def test_who_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magellon.platform.server.http.sse.SLOWEST", 0.05)
    closed: list[bool] = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"data: x\n\n"
        finally:
            closed.append(True)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(60)

    async def receive() -> Any:
        await asyncio.sleep(60)

    async def scenario() -> None:
        scope = {"type": "http", "method": "GET", "asgi": {"spec_version": "2.3"}}
        await asyncio.wait_for(EventStream(endless())(scope, receive, send), 5)

    asyncio.run(scenario())
    assert closed
