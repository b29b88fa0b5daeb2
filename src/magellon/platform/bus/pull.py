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
from nats.aio.subscription import Subscription

from magellon.platform.bus.connection import BUS_ERRORS

_ANSWER_WITHIN = 2.0
_BATCH = 1000
_OPEN = 3.0


class Puller:
    """Takes messages from the consumers of one stream. Not to be shared between coroutines."""

    def __init__(self, client: Client, stream: str) -> None:
        self._client = client
        self._stream = stream
        self._inbox = client.new_inbox()
        self._subscription: Subscription | None = None
        self._open_messages = 0
        self._open_until = 0.0

    async def _request(self, consumer: str, request: dict[str, Any]) -> Subscription:
        if self._subscription is None:
            self._subscription = await self._client.subscribe(self._inbox)
        await self._client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{consumer}", json.dumps(request).encode(), reply=self._inbox
        )
        return self._subscription

    async def take_one(self, consumer: str) -> Msg | None:
        """The next message if there is one now."""
        try:
            subscription = await self._request(consumer, {"batch": 1, "no_wait": True})
            message = await subscription.next_msg(timeout=_ANSWER_WITHIN)
        except BUS_ERRORS:
            return None
        return None if _is_status(message) else message

    async def take_many(self, consumer: str, wait: float = _OPEN, gather: float = 0.004) -> list[Msg]:
        """All messages there are: waits up to `wait` seconds for the first, then takes what comes within `gather` seconds.

        One request stays open for many messages, so that a busy stream does not cost a round trip for each.
        """
        messages: list[Msg] = []
        try:
            if self._open_messages <= 0 or time.monotonic() > self._open_until:
                self._open_messages, self._open_until = _BATCH, time.monotonic() + _OPEN
                self._subscription = await self._request(consumer, {"batch": _BATCH, "expires": int(_OPEN * 1e9)})
            assert self._subscription is not None
            left = max(self._open_until - time.monotonic(), 0.0) + 0.1
            self._accept(await self._subscription.next_msg(timeout=min(left, wait)), messages)
            if messages:
                await asyncio.sleep(gather)
            while self._subscription.pending_msgs:
                self._accept(await self._subscription.next_msg(timeout=_ANSWER_WITHIN), messages)
        except BUS_ERRORS:
            await asyncio.sleep(0.05)
        return messages

    def _accept(self, message: Msg, messages: list[Msg]) -> None:
        if _is_status(message):
            self._open_messages = 0  # the request ended, or there is no such consumer
        else:
            self._open_messages -= 1
            messages.append(message)


def _is_status(message: Msg) -> bool:
    return not message.data and "Status" in (message.headers or {})
