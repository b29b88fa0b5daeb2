"""Tasks that end at once are computed a few at a time; nobody waits long for one that turns out to be longer."""

import asyncio
import time

import pytest

from magellon.platform.worker import pace as module
from magellon.platform.worker.pace import Pace

KIND, OTHER = ("fft", "fake"), ("fft", "other")
SHORT = 0.15
"""Seconds; longer than in production, so that a busy machine changes nothing here."""


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORT", SHORT)


async def learn(pace: Pace, kind: tuple[str, str] = KIND) -> None:
    async with pace.take_turn(kind):
        pass


async def count_most_at_once(pace: Pace, kind: tuple[str, str], seconds: float, tasks: int = 8) -> int:
    inside = most = 0

    async def work() -> None:
        nonlocal inside, most
        async with pace.take_turn(kind):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(seconds)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(tasks)))
    return most


def test_what_ends_at_once_goes_through_a_few_at_a_time() -> None:
    async def run() -> None:
        pace = Pace(asyncio.Semaphore(2))
        assert await count_most_at_once(pace, KIND, 0.001) == 8, "nothing is known of it yet"
        assert pace.is_short(KIND)
        assert await count_most_at_once(pace, KIND, 0.001) == 2
        assert not pace.is_short(OTHER)
        assert await count_most_at_once(pace, OTHER, 0.001) == 8

    asyncio.run(run())


def test_a_task_that_turns_out_to_be_longer_gives_its_place_away() -> None:
    async def run() -> None:
        pace = Pace(asyncio.Semaphore(1))
        await learn(pace)
        began = time.monotonic()
        assert await count_most_at_once(pace, KIND, 5 * SHORT, tasks=3) == 3
        assert time.monotonic() - began < 3 * 5 * SHORT, "they did not wait for one another"
        assert not pace.is_short(KIND)
        await learn(pace)
        assert await count_most_at_once(pace, KIND, 0.001) == 1, "each place was given back once"

    asyncio.run(run())


def test_a_place_is_given_back_by_what_fails_and_by_what_is_cancelled() -> None:
    async def run() -> None:
        pace = Pace(asyncio.Semaphore(1))
        await learn(pace)
        with pytest.raises(ZeroDivisionError):
            async with pace.take_turn(KIND):
                raise ZeroDivisionError
        assert pace.is_short(KIND), "a failure says nothing of how long such tasks take"

        async def work() -> None:
            async with pace.take_turn(KIND):
                await asyncio.sleep(60)

        working, waiting = asyncio.create_task(work()), asyncio.create_task(work())
        await asyncio.sleep(0)
        for task in (waiting, working):
            task.cancel()
        await asyncio.wait({working, waiting})
        async with asyncio.timeout(1):
            assert await count_most_at_once(pace, KIND, 0.001) == 1

    asyncio.run(run())
