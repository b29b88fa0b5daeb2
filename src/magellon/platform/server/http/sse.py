"""Server-sent events: frames, resuming, heartbeats, and an end for readers that do not read."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

HEARTBEAT = b": beat\n\n"
HEARTBEAT_INTERVAL = 15.0
SLOWEST = 30.0
"""Seconds a frame may wait for its reader before the connection is given up; who comes back goes on where it was."""


def write_frame(kind: str, data: Any, number: int | None = None) -> bytes:
    """One event. With a number it is one that a reader can resume from."""
    identified = f"id: {number}\n" if number is not None else ""
    return f"{identified}event: {kind}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def read_last_id(header: str | None) -> int | None:
    """The number a reader has seen; None when it says none that can be."""
    text = (header or "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


class EventStream(StreamingResponse):
    """An endless answer that ends when its reader is too slow."""

    media_type = "text/event-stream"

    def __init__(self, content: AsyncIterator[bytes], status_code: int = 200) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, status_code, headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(SLOWEST):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        except (TimeoutError, ExceptionGroup) as error:
            if isinstance(error, ExceptionGroup) and error.split(TimeoutError)[1] is not None:
                raise
