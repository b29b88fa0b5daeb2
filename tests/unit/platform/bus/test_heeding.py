"""A cancellation that comes at the same moment as an answer of the bus is heard."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

from magellon.contracts.task import Started
from magellon.platform.bus.connection import publish_durably
from magellon.platform.bus.heeding import heed_cancellation
from magellon.platform.bus.pull import Puller

REPORT = Started(task=1, attempt=1, worker="w", incarnation="i")


async def cancel_as_it_answers(work: Callable[["asyncio.Future[None]"], Awaitable[Any]], ticks: int) -> bool:
    """Run `work` with a future that gets its result some turns of the loop before the cancellation; whether that was heard."""
    answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(work(answer))
    for _ in range(5):
        await asyncio.sleep(0)
    answer.set_result(None)
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=0.5)
    return task.cancelled()


def try_moments(work: Callable[["asyncio.Future[None]"], Awaitable[Any]]) -> list[bool]:
    return [asyncio.run(cancel_as_it_answers(work, ticks)) for ticks in range(4)]


def test_a_loop_that_asks_ends() -> None:
    async def loop(answer: "asyncio.Future[None]") -> None:
        while True:
            heed_cancellation()
            await asyncio.wait_for(answer, 1)
            await asyncio.sleep(0)

    assert try_moments(loop) == [True] * 4


def test_publications_that_are_repeated_end() -> None:
    """The bus refuses each time, at the moment of the cancellation for once."""

    class Stream:
        async def publish(self, *_: Any, **__: Any) -> None:
            await asyncio.wait_for(self.answer, 1)
            raise ConnectionError

    async def publish(answer: "asyncio.Future[None]") -> None:
        stream = Stream()
        stream.answer = answer  # type: ignore[attr-defined]
        await publish_durably(SimpleNamespace(jetstream=lambda timeout: stream, is_closed=False), "s", REPORT, "id")  # type: ignore[arg-type]

    assert try_moments(publish) == [True] * 4


def test_taking_messages_is_cancelled_while_they_come() -> None:
    """Whatever the moment, and no message is lost to the next one who asks."""

    class Bus:
        def new_inbox(self) -> str:
            return "inbox"

        async def subscribe(self, subject: str, cb: Callable[[Any], Awaitable[None]]) -> None:
            self.hear = cb

        async def publish(self, *_: Any, **__: Any) -> None: ...

    async def work(ticks: int) -> bool:
        bus = Bus()
        puller = Puller(bus, "STREAM")  # type: ignore[arg-type]
        task = asyncio.ensure_future(puller.take_now("consumer", 2))
        for _ in range(3):
            await asyncio.sleep(0)
        await bus.hear(SimpleNamespace(data=b"x", headers=None, subject="inbox.1"))
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=3)
        return task.cancelled()

    assert [asyncio.run(work(ticks)) for ticks in range(4)] == [True] * 4


def test_without_a_cancellation_nothing_happens() -> None:
    async def work() -> None:
        heed_cancellation()

    asyncio.run(work())
