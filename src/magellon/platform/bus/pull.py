"""Pulling from durable consumers, so that the death of the server costs seconds and never a message.

A request that waits when the server dies is lost silently; so each is bounded and simply repeated. "No consumer" and "no
message" are one answer here: nothing yet.
"""

import asyncio
import json
import time
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg

from magellon.platform.bus.connection import BUS_ERRORS

_ANSWER_WITHIN = 2.0
_BATCH = 1000
_OPEN = 3.0
_GATHER = 0.004
"""Seconds in which more may come after the first message."""


class Puller:
    """Takes messages from the consumers of one stream. Not to be shared between coroutines."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._inbox = client.new_inbox()
        self._listening = False
        self._heard: asyncio.Queue[Msg] = asyncio.Queue()
        self._requests = 0
        self._open_messages = 0
        self._open_until = 0.0

    async def _request(self, consumer: str, request: dict[str, Any]) -> None:
        """Ask under an address of its own, so that the end of an earlier request is not taken for the end of this one."""
        if not self._listening:
            await self._client.subscribe(f"{self._inbox}.*", cb=self._heard.put)
            self._listening = True
        self._requests += 1
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{consumer}"
        await self._client.publish(subject, json.dumps(request).encode(), reply=self._address())

    async def _hear(self, patience: float) -> Msg:
        """Raises TimeoutError."""
        if self._heard.empty():
            async with asyncio.timeout(patience):
                return await self._heard.get()
        return self._heard.get_nowait()

    def _address(self) -> str:
        return f"{self._inbox}.{self._requests}"

    def _is_end(self, message: Msg) -> bool:
        return message.subject == self._address()

    async def take_now(self, consumer: str, most: int) -> list[Msg]:
        """The next messages if there are any now, not more than `most`."""
        messages: list[Msg] = []
        try:
            await self._request(consumer, {"batch": most, "no_wait": True})
            while len(messages) < most:
                message = await self._hear(_ANSWER_WITHIN)
                if not _is_status(message):
                    messages.append(message)
                elif self._is_end(message):
                    break
        except BUS_ERRORS:
            pass  # nothing yet
        return messages

    async def take_many(self, consumer: str, wait: float = _OPEN, most: int = _BATCH) -> list[Msg]:
        """All messages there are: waits up to `wait` seconds for the first, then takes what has come with it.

        One request stays open for many messages, so that a busy stream does not cost a round trip for each.
        """
        messages: list[Msg] = []
        try:
            if self._open_messages <= 0 or time.monotonic() > self._open_until:
                self._open_messages, self._open_until = _BATCH, time.monotonic() + _OPEN
                await self._request(consumer, {"batch": _BATCH, "expires": int(_OPEN * 1e9)})
            left = max(self._open_until - time.monotonic(), 0.0) + 0.1
            self._accept(await self._hear(min(left, wait)), messages)
            if messages:
                await asyncio.sleep(_GATHER)
            while not self._heard.empty() and len(messages) < most:
                self._accept(self._heard.get_nowait(), messages)
        except BUS_ERRORS:
            await asyncio.sleep(0.05)
        return messages

    def _accept(self, message: Msg, messages: list[Msg]) -> None:
        if not _is_status(message):
            self._open_messages -= 1
            messages.append(message)
        elif self._is_end(message):
            self._open_messages = 0  # the request ended, or there is no such consumer


def _is_status(message: Msg) -> bool:
    return not message.data and "Status" in (message.headers or {})
