"""A connection that survives the death of the server, and the durable publication that goes with it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from magellon.contracts import Record
from magellon.errors import Transient
from magellon.platform.bus.access import list_access
from magellon.platform.bus.configuration import BusAddress
from magellon.platform.bus.heeding import heed_cancellation

log = logging.getLogger("magellon.bus")

BUS_ERRORS = (NatsError, JetStreamError, TimeoutError, ConnectionError, OSError)
"""What a bus that is away, or lost its store, makes any call raise."""

_PUBLISH_TIMEOUT = 2.0
_MOST_REASONS = 3


async def connect_bus(
    address: BusAddress, name: str, on_reconnect: Callable[[], Awaitable[None]] | None = None, patience: float = 15.0
) -> Client:
    """Connect, and reconnect for ever afterwards.

    Raises:
        Transient: no server could be reached within `patience` seconds; why.
        BadInput: the files with certificates or credentials cannot be used.
    """
    said: dict[str, None] = {}

    async def report_error(error: Exception) -> None:
        if len(said) < _MOST_REASONS:
            said[str(error) or type(error).__name__] = None
        log.debug("bus: %s", error)

    client = Client()
    connecting = client.connect(
        address.servers,
        **list_access(address),
        name=name,
        allow_reconnect=True,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.25,  # type: ignore[arg-type] # any number of seconds will do
        connect_timeout=5 if address.secure else 2,
        ping_interval=5,
        max_outstanding_pings=2,
        error_cb=report_error,
        reconnected_cb=on_reconnect,
    )
    try:
        await _end_within(connecting, patience)  # left alone, it would try a wrong token for ever
    except BUS_ERRORS as error:
        await client.close()
        why = "; ".join(said) or str(error) or type(error).__name__
        raise Transient(f"the bus at {address.url} cannot be reached: {why}") from error
    return client


async def _end_within(work: Coroutine[Any, Any, None], seconds: float) -> None:
    """Wait for it, and cancel it after so long until it ends: `asyncio.wait_for`, which it may use, loses a cancellation that
    comes as its own work ends (Python 3.11), and `asyncio.timeout` cancels only once.

    Raises:
        TimeoutError: it took longer.
    """
    task = asyncio.create_task(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=0.1)
    if task.cancelled():
        raise TimeoutError
    task.result()


async def publish_record(client: Client, subject: str, record: Record) -> None:
    """Over plain NATS: for what may get lost (beats, progress, log lines)."""
    if client.is_connected:
        await client.publish(subject, record.model_dump_json().encode())


async def publish_durably(client: Client, subject: str, record: Record, message_id: str) -> None:
    """Publish into a stream and wait for the acknowledgement; repeated with the same id until it comes."""
    payload = record.model_dump_json().encode()
    stream = client.jetstream(timeout=_PUBLISH_TIMEOUT)
    while True:
        heed_cancellation()
        try:
            await stream.publish(subject, payload, headers={"Nats-Msg-Id": message_id})
        except BUS_ERRORS as error:
            log.debug("publication on %s: %s", subject, error)
            if client.is_closed:
                raise Transient("the connection to the bus is closed") from error
            await asyncio.sleep(0.2)
        else:
            return
