"""Somebody on the bus who repeats what was said, says it late, and lets messages vanish."""

import asyncio
import contextlib
import random
import secrets
import threading
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from magellon.platform.bus.configuration import BusAddress
from magellon.platform.bus.connection import BUS_ERRORS, connect_bus
from magellon.platform.bus.streams import EVENTS, TASKS


@dataclass
class Meddler:
    """Lives in a thread of its own, as it must hear all that is said."""

    address: BusAddress
    random: random.Random
    _heard: dict[str, "deque[tuple[str, bytes]]"] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _client: Client | None = None

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        self._heard = {"event": deque(maxlen=300), "task": deque(maxlen=300)}
        self._thread.start()
        self._do(self._listen())

    def stop(self) -> None:
        if self._client is not None:
            self._do(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._client = await connect_bus(self.address, "meddler")

        async def hear(message: Msg) -> None:
            kind = message.subject.partition(".")[0]
            self._heard[kind].append((message.subject, message.data))

        await self._client.subscribe("event.>", cb=hear)
        await self._client.subscribe("task.>", cb=hear)

    def repeat(self, kind: str) -> bool:
        """Say again something that was said a while ago."""
        if not self._heard[kind]:
            return False
        subject, data = self.random.choice(list(self._heard[kind]))
        return bool(self._do(self._publish(subject, data)))

    async def _publish(self, subject: str, data: bytes) -> bool:
        assert self._client is not None
        headers = {"Nats-Msg-Id": secrets.token_hex(8)}
        with contextlib.suppress(*BUS_ERRORS):
            await self._client.jetstream(timeout=1).publish(subject, data, headers=headers)
            return True
        return False

    def lose(self, kind: str) -> bool:
        """Let a message vanish that nobody has taken yet, if there is one."""
        return bool(self._do(self._delete(EVENTS if kind == "event" else TASKS)))

    async def _delete(self, stream: str) -> bool:
        assert self._client is not None
        with contextlib.suppress(*BUS_ERRORS):
            manager = self._client.jetstream(timeout=1)
            state = (await manager.stream_info(stream)).state
            numbers = list(range(state.first_seq, state.last_seq + 1)) if state.messages else []
            self.random.shuffle(numbers)
            for number in numbers[:10]:
                with contextlib.suppress(*BUS_ERRORS):  # this one was gone
                    return await manager.delete_msg(stream, number)
        return False
