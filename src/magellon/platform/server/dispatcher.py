"""The process that owns the ledger: takes in what workers report, decides what comes next, publishes it."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import ValidationError
from sqlalchemy import Connection, Row, select

from magellon.contracts.task import Beat, Running, Task
from magellon.platform.bus.connection import BUS_ERRORS, publish_record
from magellon.platform.bus.heeding import heed_cancellation
from magellon.platform.bus.pull import Puller
from magellon.platform.bus.streams import (
    EVENTS,
    LEDGER_CONSUMER,
    TASKS,
    ensure_streams,
    ensure_task_consumer,
    task_subject,
)
from magellon.platform.server import reconciling
from magellon.platform.server.advancing import advance_found, find_items
from magellon.platform.server.book import Book, JobFacts
from magellon.platform.server.courtesy import Courtesy
from magellon.platform.server.events import Event, enter_events, read_events
from magellon.platform.server.linking import Linker
from magellon.platform.server.links import list_task_links, relink_folder
from magellon.platform.server.metrics import enter_metrics
from magellon.platform.server.publishing import enter_sequences, take_due_tasks
from magellon.platform.server.report import Progress, make_progress
from magellon.platform.server.sender import Sender, wait_for_bus
from magellon.platform.server.watch import Watch
from magellon.platform.store.ledger import LedgerAway
from magellon.platform.store.schema import jobs, tasks

log = logging.getLogger("magellon.server")

_PROGRESS_INTERVAL = 0.2
_PROGRESS_REMINDER = 1.0
_TICK = 0.25
_LOOK_AGAIN = 0.5
_MESSAGES = 64
_AT_A_TIME = 128
"""Reports entered in one transaction, so that nobody waits long for the loop."""
_PACE = 0.06
"""Seconds between two batches: a transaction costs much the same for two reports and for a hundred."""
_GENTLE_PACE = 0.15
"""While people wait for pages."""
_QUIET = 0.3
"""Seconds without an event after which the ledger counts as up to date at the start."""

Lane = tuple[str, str, bool]
"""Category, backend, whether urgent."""


class Dispatcher:
    """One task for events, one for the clock; the ledger is touched between awaits only, so they never interleave."""

    def __init__(self, book: Book, client: Client) -> None:
        self.book = book
        self.client = client
        self.watch = Watch(book.policy.lost_after, book.policy.forgotten_after)
        self.courtesy = Courtesy()
        self._puller = Puller(client, EVENTS)
        self._sender = Sender(client)
        self._consumers: set[Lane] = set()
        self._publishing = asyncio.Lock()
        self._something_due = asyncio.Event()
        self._missing_before: set[int] = set()
        self._dirty: set[int] = set()
        self._look_at = 0.0
        self._reconcile_at = 0.0
        self._progress_at: dict[int, float] = {}
        self._linker = Linker(book)
        self._relinking: set[int] = set()
        self._background: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """After `recover`, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._take_events())
            group.create_task(self._keep_publishing())
            group.create_task(self._keep_time())

    # Taking in

    async def _take_events(self) -> None:
        while True:
            heed_cancellation()
            await self.take_batch()
            await self._pause()

    async def take_batch(self, wait: float = 3.0) -> int:
        """Enter what has been reported, move on, have it published. Acknowledged only when it is in the ledger."""
        messages = await self._puller.take_many(LEDGER_CONSUMER, wait, _MESSAGES)
        batch: list[Event] = []
        for message in messages:
            try:
                batch += read_events(message.data)
            except ValidationError as error:
                log.warning("an event nobody understands is dropped: %s", error)
        for start in range(0, len(batch), _AT_A_TIME):
            part = batch[start : start + _AT_A_TIME]
            with self.book.ledger.transaction() as connection:
                self._move_on(connection, enter_events(self.book, connection, part), [event.task for event in part])
            self.ask_to_publish()
            await asyncio.sleep(0)  # others wait for the loop too
        for message in messages:
            with contextlib.suppress(*BUS_ERRORS):  # comes again, and changes nothing then
                await message.ack()
        await self._linker.wait_for_room()
        return len(messages)

    def _move_on(self, connection: Connection, touched: list[int], seen: Iterable[int] = ()) -> None:
        found = find_items(connection, {*touched, *seen})
        moved = set(touched)
        completed = advance_found(self.book, connection, {entry for number, entry in found.items() if number in moved})
        jobs_seen = {job for job, _, _ in found.values()}
        self._linker.add(list_task_links(self.book, connection, [*touched, *completed]))
        enter_metrics(self.book, connection, [*touched, *completed])
        self._dirty.update(jobs_seen)
        self.book.loosened.update(jobs_seen & self._relinking)

    def take_beat(self, data: bytes) -> list[Running]:
        """Note a beat; the attempts in it that nobody wants any more."""
        try:
            beat = Beat.model_validate_json(data)
        except ValidationError:
            return []
        self.watch.note_beat(beat)
        if not beat.running:
            return []
        numbers = [running.task for running in beat.running]
        with self.book.ledger.transaction() as connection:
            query = select(tasks.c.id, tasks.c.attempt).where(tasks.c.id.in_(numbers))
            current = {
                (row.id, row.attempt) for row in connection.execute(query.where(tasks.c.state.in_(("pending", "running"))))
            }
        return [running for running in beat.running if (running.task, running.attempt) not in current]

    async def answer_beat(self, message: Msg) -> None:
        """Cancelling is repeated with every beat until the task has ended."""
        unwanted = self.take_beat(message.data)
        if unwanted:
            worker = message.subject.rpartition(".")[2]
            text = ",".join(f"{running.task}.{running.attempt}" for running in unwanted)
            await self.client.publish(f"cancel.{worker}", text.encode())

    async def withdraw(self, rows: Iterable[Row[Any]]) -> None:
        """Take these back from the bus and from the workers that compute them, as far as they can be reached now.

        Rows as they were before; whatever is not reached does no harm: its attempt no longer counts, and the worker hears it
        in answer to its next beat.
        """
        published = [row for row in rows if row.published]
        with contextlib.suppress(*BUS_ERRORS):
            for row in published:
                if row.state == "running" and row.worker:
                    await self.client.publish(f"cancel.{row.worker}", f"{row.id}.{row.attempt}".encode())
        await reconciling.withdraw_tasks(self.client, [row for row in published if row.state == "pending"])

    # Publishing

    def ask_to_publish(self) -> None:
        """Soon, by the coroutine that does nothing else."""
        self._something_due.set()

    async def _keep_publishing(self) -> None:
        while True:
            heed_cancellation()
            await self._something_due.wait()
            self._something_due.clear()
            await self.publish()
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(_GENTLE_PACE if self.courtesy.is_slowing() else _PACE)

    async def publish(self) -> None:
        """Publish what is due, has room and keeps nobody waiting for a page; repeat what the bus did not take until it does."""
        async with self._publishing:
            while True:
                heed_cancellation()
                allowed = self.courtesy.count_allowed()
                with self.book.ledger.transaction() as connection:
                    due = take_due_tasks(self.book, connection, allowed)
                if due:
                    await self._send(due)
                    self.courtesy.note_sent(len(due))
                if allowed is not None and len(due) >= allowed:
                    self.ask_to_publish()  # the rest in a moment
                    return
                if not due:
                    return

    async def _send(self, due: list[Task]) -> None:
        lanes = {(task.category, task.backend, task.urgent) for task in due}
        for lane in lanes - self._consumers:
            await self._ensure_consumer(lane)
        sequences = await self._sender.send(due)
        with self.book.ledger.transaction() as connection:
            unwanted = enter_sequences(connection, list(zip(due, sequences, strict=True)))
        await reconciling.withdraw_messages(self.client, unwanted)
        for lane in lanes:
            await self.client.publish("wake", task_subject(*lane).encode())

    async def _ensure_consumer(self, lane: Lane) -> None:
        while True:
            heed_cancellation()
            with contextlib.suppress(*BUS_ERRORS):
                await ensure_task_consumer(self.client, *lane)
                self._consumers.add(lane)
                return
            await wait_for_bus(self.client)

    # Keeping time

    async def _keep_time(self) -> None:
        while True:
            heed_cancellation()
            await asyncio.sleep(_TICK)
            if not self.client.is_connected:
                self.watch.excuse_silence()
                continue
            await self._look_for_lost()
            if time.monotonic() >= self._reconcile_at:
                await self.reconcile()
            if time.monotonic() >= self._look_at:
                self._look_at = time.monotonic() + _LOOK_AGAIN
                self.ask_to_publish()  # what waited for its time
            await self._tell_progress()

    async def _look_for_lost(self) -> None:
        with self.book.ledger.transaction() as connection:
            settled, gone = reconciling.enter_lost_tasks(self.book, connection, self.watch)
            if gone:
                log.warning("%d tasks lost their worker", len(gone))
                self._move_on(connection, settled, [row.id for row in gone])
        if gone:
            await reconciling.withdraw_tasks(self.client, gone)
            self.ask_to_publish()

    async def _tell_progress(self) -> None:
        for facts in self._list_to_tell():
            progress = await self._look_at_progress(facts)
            await publish_record(self.client, f"progress.{progress.job}", progress)

    def _list_to_tell(self) -> list[JobFacts]:
        now = time.monotonic()
        with self.book.ledger.transaction() as connection:
            active = connection.execute(select(jobs.c.id).where(jobs.c.active)).scalars().all()
            due = {job: self._progress_at.get(job, 0.0) + (0.0 if job in self._dirty else _PROGRESS_REMINDER) for job in active}
            return [self.book.job(connection, job) for job in active if now >= due[job]]

    async def _look_at_progress(self, job: JobFacts) -> Progress:
        """Counted in a thread, as a job may have 100,000 tasks and people wait for the loop."""
        mentioned = self.watch.list_mentioned()
        began = time.monotonic()

        def count() -> Progress:
            with self.book.ledger.reading() as connection:
                return make_progress(connection, job, mentioned)

        self._dirty.discard(job.id)
        progress = await asyncio.to_thread(count)
        ended = time.monotonic()
        self._progress_at[job.id] = ended + min(max(_PROGRESS_INTERVAL, 10 * (ended - began)), _PROGRESS_REMINDER)
        if progress.settled and (job.id in self._dirty or self._linker.is_busy(job.id)):
            progress = progress.model_copy(update={"settled": False})
            self._dirty.add(job.id)
        elif progress.settled and (job.id in self.book.loosened or job.id in self._relinking):
            progress = progress.model_copy(update={"settled": False})
            self._start_relinking(job.id)
        return progress

    def take_in(self, job: int) -> None:
        """Movies came to a live session: publish what is due."""
        self.note_change(job)
        self.ask_to_publish()

    def _start_relinking(self, job: int) -> None:
        """Beside everything else; told again when it is done."""
        if job not in self._relinking:
            task = asyncio.create_task(self.relink(job))
            self._background.add(task)
            task.add_done_callback(self._background.discard)

    async def relink(self, job: int) -> None:
        """Make the links right that could not be made when they were due, or that a change left behind.

        In a thread, as a session has 100,000 of them. What changes meanwhile, or fails, is left loosened: it is done again.
        """
        if job in self._relinking:
            self.book.loosened.add(job)
            return
        with self.book.ledger.transaction() as connection:
            facts = self.book.job(connection, job)

        def work() -> None:
            with self.book.ledger.reading() as connection:
                relink_folder(self.book, connection, facts)

        self.book.loosened.discard(job)
        self._relinking.add(job)
        try:
            await asyncio.to_thread(work)
        except (OSError, LedgerAway) as error:
            log.warning("the session's links are to be made again: %s", error)
            self.book.loosened.add(job)
        finally:
            self._relinking.discard(job)
            self._dirty.add(job)

    def note_change(self, job: int) -> None:
        """A job was submitted or changed."""
        self._dirty.add(job)
        if job in self._relinking or self._linker.is_busy(job):
            self.book.loosened.add(job)

    # Recovering

    async def recover(self) -> None:
        """At the start: the bus may be new, workers may be at work, results may be promoted that nobody reported."""
        while True:
            heed_cancellation()
            with contextlib.suppress(*BUS_ERRORS):
                await ensure_streams(self.client)
                break
            await asyncio.sleep(0.2)
        while await self.take_batch(wait=_QUIET):
            heed_cancellation()
        with self.book.ledger.transaction() as connection:
            underway = reconciling.find_underway(connection)
        if underway:
            await asyncio.sleep(1.5 * self.book.policy.beat_interval)  # living workers mention what they compute
        with self.book.ledger.transaction() as connection:
            rows = reconciling.find_underway(connection)
            settled = reconciling.adopt_results(self.book, connection, rows)
            mentioned = self.watch.list_mentioned()
            idle = [row.id for row in rows if row.id not in settled and (row.id, row.attempt) not in mentioned]
            reconciling.release_tasks(connection, idle)
            self._move_on(connection, settled, idle)
            active = connection.execute(select(jobs.c.id).where(jobs.c.active)).scalars().all()
            self.book.loosened.update(active)
        with contextlib.suppress(*BUS_ERRORS):
            await self.client.jetstream(timeout=5).purge_stream(TASKS)  # attempts of the past
        self._reconcile_at = time.monotonic() + self.book.policy.reconcile_interval
        self.ask_to_publish()

    async def reconcile(self) -> None:
        """Now and then, and after the bus was away: does it still hold what was published?"""
        self._reconcile_at = time.monotonic() + self.book.policy.reconcile_interval
        with contextlib.suppress(*BUS_ERRORS):
            await ensure_streams(self.client)
        self._consumers.clear()
        with self.book.ledger.transaction() as connection:
            rows = [row for row in reconciling.find_underway(connection) if row.state == "pending"]
        for lane in {(row.category, row.backend, urgent) for row in rows for urgent in (False, True)}:
            await self._ensure_consumer(lane)
        missing = set(await reconciling.find_missing(self.client, rows))
        twice = missing & self._missing_before  # once may be a report on its way
        self._missing_before = missing
        if missing:
            self._reconcile_at = min(self._reconcile_at, time.monotonic() + 2.0)
        if twice:
            with self.book.ledger.transaction() as connection:
                gone = [row for row in reconciling.find_underway(connection) if row.id in twice and row.state == "pending"]
                settled = reconciling.adopt_results(self.book, connection, gone)
                reconciling.release_tasks(connection, [row.id for row in gone])
                self._move_on(connection, settled, [row.id for row in gone])
            log.warning("%d tasks were no longer on the bus and are published again", len(gone))
            self.ask_to_publish()

    async def meet_new_bus(self) -> None:
        """The connection is back."""
        self.watch.excuse_silence()
        self._reconcile_at = 0.0
