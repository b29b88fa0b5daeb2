"""What a worker reports of its tasks: what is said at the same moment travels in one message."""

import asyncio
import contextlib
from dataclasses import dataclass, field

from nats.aio.client import Client

from magellon.contracts.task import Failed, Finished, Reports, Started
from magellon.errors import Transient
from magellon.platform.bus.connection import publish_durably
from magellon.platform.bus.streams import EVENT_SUBJECT

_MOST = 64
_GATHER = 0.01
"""Seconds in which more may be said after the first: a message costs much the same for one report and for ten."""
_SUBJECT = f"{EVENT_SUBJECT}.reports"

Report = Started | Finished | Failed


@dataclass
class Reporter:
    """Publishes reports, one message at a time; while it is on its way, others gather for the next."""

    client: Client
    incarnation: str
    _waiting: list[tuple[Report, "asyncio.Future[None]"]] = field(default_factory=list)
    _sending: "asyncio.Task[None] | None" = None
    _sent: int = 0

    async def report(self, report: Report) -> None:
        """Returns when the bus has it on disk.

        Raises:
            Transient: the connection to the bus was closed.
        """
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((report, told))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())  # of its own, as whoever reports may be cancelled
        await told

    async def _send_all(self) -> None:
        while self._waiting:
            await asyncio.sleep(_GATHER)
            part, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            record = Reports.model_construct(reports=tuple(report for report, _ in part))
            self._sent += 1
            try:
                await publish_durably(self.client, _SUBJECT, record, f"{self.incarnation}.{self._sent}")
            except Transient as error:
                for _, told in part:
                    with contextlib.suppress(asyncio.InvalidStateError):
                        told.set_exception(error)
            else:
                for _, told in part:
                    with contextlib.suppress(asyncio.InvalidStateError):  # nobody waits for it any more
                        told.set_result(None)
