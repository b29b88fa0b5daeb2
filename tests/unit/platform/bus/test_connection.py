"""A bus that cannot be reached is given up in time."""

import asyncio
import time

import pytest
from nats.aio.client import Client

from magellon.errors import Transient
from magellon.platform.bus.configuration import BusAddress
from magellon.platform.bus.connection import connect_bus


def test_an_attempt_that_loses_its_cancellation_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `asyncio.wait_for` of Python 3.11 does, when its own work ends at that moment."""
    lost = []

    async def connect(_client: Client, *_: object, **__: object) -> None:
        while True:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                if len(lost) == 2:
                    raise
                lost.append(1)

    async def close(_client: Client) -> None:
        """There is nothing to close, which the true one does not expect."""

    monkeypatch.setattr(Client, "connect", connect)
    monkeypatch.setattr(Client, "close", close)
    began = time.monotonic()
    with pytest.raises(Transient, match=r"nats://127\.0\.0\.1:1 cannot be reached: TimeoutError"):
        asyncio.run(asyncio.wait_for(connect_bus(BusAddress("nats://127.0.0.1:1"), "test", patience=0.1), 20))
    assert len(lost) == 2
    assert time.monotonic() - began < 10
