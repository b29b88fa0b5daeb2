"""A worker: slots that take a task, compute it in a child, promote, report, acknowledge; and a beat that says so."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import ValidationError

from magellon.contracts import CONTRACTS, Record
from magellon.contracts.task import Beat, Failed, FailureKind, Finished, Running, Started, Task
from magellon.errors import MagellonError
from magellon.platform.bus.connection import BUS_ERRORS, publish_durably, publish_record
from magellon.platform.bus.pull import Puller
from magellon.platform.bus.streams import ACKNOWLEDGE_WITHIN, EVENT_SUBJECT, TASKS, consumer_name, task_subject
from magellon.platform.pipeline.catalogue import list_backends
from magellon.platform.store.roots import HOME_ROOT, Roots
from magellon.platform.worker.child import Child, TaskFailure
from magellon.platform.worker.compute import Workshop, compute_task

log = logging.getLogger("magellon.worker")

_LOOK_AGAIN = 1.0


@dataclass
class Job:
    """A task a slot is at."""

    task: Task
    message: Msg
    running: "asyncio.Task[None] | None" = None
    cancelled: bool = False
    fraction: float = 0.0
    said: str = ""


@dataclass
class Subjects:
    """Which backends' tasks may be waiting; those farthest along the pipeline first, so that items come to their end."""

    keys: list[tuple[str, str]]
    hints: dict[str, int] = field(default_factory=dict)
    """Subject > number of wakes heard; a subject found empty is left alone until the next wake or the next full look."""
    empty: dict[str, int] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, backends: Iterable[str]) -> "Subjects":
        order = list(CONTRACTS)
        keys = [(category, name) for category, _, name in (key.partition("/") for key in backends) if category in order]
        return cls(sorted(keys, key=lambda key: (-order.index(key[0]), key[1])))

    def wake(self, subject: str) -> None:
        self.hints[subject] = self.hints.get(subject, 0) + 1
        self.changed.set()

    def look_everywhere(self) -> None:
        self.empty.clear()

    def worth_asking(self, key: tuple[str, str]) -> bool:
        subject = task_subject(*key)
        return self.empty.get(subject) != self.hints.get(subject, 0)


class Worker:
    """All slots of one worker process."""

    def __init__(self, client: Client, name: str, workshop: Workshop, slots: int, refresh: Callable[[], Awaitable[Roots]]):
        self.client = client
        self.name = name
        self.incarnation = secrets.token_hex(8)
        self._workshop = workshop
        self._slots = slots
        self._refresh_roots = refresh
        self._roots = Roots({})
        self._subjects = Subjects.of(list_backends())
        self._jobs: dict[str, Job] = {}
        """By identity: the same computation twice at a time would be waste."""
        self._draining = False
        self._busy_at = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """How long it has had nothing to do."""
        return 0.0 if self._jobs else time.monotonic() - self._busy_at

    def drain(self) -> None:
        """Take no more tasks; `run` returns when those at work are finished."""
        self._draining = True
        self._subjects.changed.set()

    async def run(self, beat_interval: float) -> None:
        """Until drained, or until cancelled; the tasks at work are then given back."""
        self._roots = await self._refresh_roots()
        await self.client.subscribe("wake", cb=self._hear_wake)
        await self.client.subscribe(f"cancel.{self.name}", cb=self._hear_cancel)
        async with asyncio.TaskGroup() as group:
            beating = group.create_task(self._beat(beat_interval))
            await asyncio.wait([group.create_task(self._work(number)) for number in range(self._slots)])
            beating.cancel()

    async def _hear_wake(self, message: Msg) -> None:
        self._subjects.wake(message.data.decode())

    async def _hear_cancel(self, message: Msg) -> None:
        unwanted = {int(number) for number in message.data.decode().split(",")}
        for job in self._jobs.values():
            if job.task.id in unwanted and job.running is not None and not job.cancelled:
                job.cancelled = True
                job.running.cancel()

    async def _beat(self, interval: float) -> None:
        extend_at = 0.0
        while True:
            running = tuple(
                Running(task=job.task.id, attempt=job.task.attempt, fraction=job.fraction, message=job.said)
                for job in self._jobs.values()
            )
            beat = Beat(worker=self.name, incarnation=self.incarnation, slots=self._slots, running=running)
            with contextlib.suppress(*BUS_ERRORS):
                await publish_record(self.client, f"beat.{self.name}", beat)
                if time.monotonic() >= extend_at:
                    extend_at = time.monotonic() + ACKNOWLEDGE_WITHIN / 5
                    for job in list(self._jobs.values()):
                        await job.message.in_progress()
            await asyncio.sleep(interval)

    # One slot

    async def _work(self, number: int) -> None:
        puller = Puller(self.client, TASKS)
        output = self._workshop.logs / f"{self.name}-{number}.out"
        async with Child(threads=self._workshop.threads, output_file=output) as child:
            await child.start()
            while not self._draining:
                message = await self._take(puller)
                if message is not None:
                    await self._handle(child, message)

    async def _take(self, puller: Puller) -> Msg | None:
        """The next task there is, or None after a while."""
        subjects = self._subjects
        subjects.changed.clear()
        for key in subjects.keys:
            if subjects.worth_asking(key):
                subject = task_subject(*key)
                heard = subjects.hints.get(subject, 0)
                message = await puller.take_one(consumer_name(*key))
                if message is not None:
                    return message
                subjects.empty[subject] = heard
        try:
            await asyncio.wait_for(subjects.changed.wait(), _LOOK_AGAIN)
        except TimeoutError:
            subjects.look_everywhere()
        return None

    async def _handle(self, child: Child, message: Msg) -> None:
        try:
            task = Task.model_validate_json(message.data)
        except ValidationError as error:
            log.warning("a task nobody understands is dropped: %s", error)
            await self._acknowledge(message)
            return
        same = self._jobs.get(task.identity)
        if same is not None:
            same.task = task if task.attempt > same.task.attempt else same.task
            await self._acknowledge(message)
            return
        job = self._jobs[task.identity] = Job(task, message)
        job.running = asyncio.create_task(self._process(child, job))
        try:
            await asyncio.wait({job.running})
        finally:
            job.running.cancel()  # nothing to cancel unless this worker is being stopped
            with contextlib.suppress(asyncio.CancelledError):
                await job.running
            del self._jobs[task.identity]
            self._busy_at = time.monotonic()
            await self._acknowledge(message)

    async def _acknowledge(self, message: Msg) -> None:
        with contextlib.suppress(*BUS_ERRORS):  # it comes again, and its result is found
            await message.ack()

    async def _process(self, child: Child, job: Job) -> None:
        task = job.task
        started = Started(task=task.id, attempt=task.attempt, worker=self.name, incarnation=self.incarnation)
        await self._report("started", task, started)
        try:
            roots = await self._know_roots(task)

            def listen(kind: str, fraction: float, text: str) -> None:
                if kind == "progress":
                    job.fraction = fraction
                job.said = text or job.said

            output, provenance = await compute_task(self._workshop, child, task, roots, listen)
        except TaskFailure as failure:
            await self._report_failure(job.task, failure.kind, failure.message, failure.traceback)
        except MagellonError as error:
            await self._report_failure(job.task, "transient", str(error), "")
        except asyncio.CancelledError:
            await self._report_failure(job.task, "cancelled", "cancelled" if job.cancelled else "the worker was stopped", "")
            raise
        else:
            task = job.task
            await self._report(
                "finished",
                task,
                Finished(
                    task=task.id,
                    attempt=task.attempt,
                    identity=task.identity,
                    worker=self.name,
                    output=output,
                    provenance=provenance,
                ),
            )

    async def _report_failure(self, task: Task, kind: str, message: str, traceback: str) -> None:
        known: FailureKind = kind if kind in ("bad_input", "transient", "cancelled") else "defect"  # type: ignore[assignment]
        failed = Failed(task=task.id, attempt=task.attempt, worker=self.name, kind=known, message=message, traceback=traceback)
        await self._report("failed", task, failed)

    async def _report(self, word: str, task: Task, record: Record) -> None:
        message_id = f"{word}.{task.id}.{task.attempt}.{self.incarnation}"
        await publish_durably(self.client, f"{EVENT_SUBJECT}.{word}", record, message_id)

    async def _know_roots(self, task: Task) -> Roots:
        """The roots, asked for again when a session brought a new one."""
        needed = _find_root_names(task)
        if not needed <= {HOME_ROOT, *self._roots.folders}:
            self._roots = await self._refresh_roots()
        return self._roots


def _find_root_names(task: Task) -> set[str]:
    if task.input is None:
        return set()
    record = CONTRACTS[task.category].Input.model_validate(task.input)
    return {str(path).partition(":")[0] for path in record.paths()}
