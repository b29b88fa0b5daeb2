"""Tasks on their way into the stream: many at a time, one acknowledgement for all of them."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from nats.aio.client import Client

from magellon.contracts.task import Task
from magellon.platform.bus.connection import BUS_ERRORS
from magellon.platform.bus.heeding import heed_cancellation
from magellon.platform.bus.streams import ensure_streams, task_subject
from magellon.platform.server.reconciling import message_id

log = logging.getLogger("magellon.server")

_ID = "Nats-Msg-Id"


@dataclass
class Sender:
    """The only one who publishes into the stream of tasks, so that positions in it follow one another."""

    client: Client
    _last: int | None = None
    """Position of the latest message; None when that is not known for sure."""

    async def send(self, due: Sequence[Task]) -> list[int]:
        """Publish, and repeat until the bus has them all; their positions in the stream."""
        if self._last is not None and len(due) > 1:
            sequences = await self._send_together(due, self._last)
            if sequences is not None:
                return sequences
        sequences = list(await asyncio.gather(*(self._send_one(task) for task in due)))
        self._last = max(sequences)
        return sequences

    async def _send_together(self, due: Sequence[Task], last: int) -> list[int] | None:
        """None when it is not certain that each of them got there: sent one by one then, under the same ids."""
        self._last = None
        try:
            for task in due[:-1]:
                await self.client.publish(_subject(task), _payload(task), headers=_headers(task))
            answer = await self._publish(due[-1])
        except BUS_ERRORS as error:
            log.debug("publication of %d tasks: %s", len(due), error)
            return None
        if answer != last + len(due):
            return None
        self._last = answer
        return list(range(last + 1, answer + 1))

    async def _send_one(self, task: Task) -> int:
        while True:
            heed_cancellation()
            try:
                return await self._publish(task)
            except BUS_ERRORS as error:
                log.debug("publication of %s: %s", task.label, error)
                await wait_for_bus(self.client)

    async def _publish(self, task: Task) -> int:
        answer = await self.client.jetstream(timeout=3).publish(_subject(task), _payload(task), headers=_headers(task))
        return int(answer.seq)


def _subject(task: Task) -> str:
    return task_subject(task.category, task.backend, task.urgent)


def _payload(task: Task) -> bytes:
    return task.model_dump_json().encode()


def _headers(task: Task) -> dict[str, str]:
    return {_ID: message_id(task.id, task.attempt, task.identity)}


async def wait_for_bus(client: Client) -> None:
    await asyncio.sleep(0.2)
    with contextlib.suppress(*BUS_ERRORS):
        await ensure_streams(client)  # a bus that lost its store has none
