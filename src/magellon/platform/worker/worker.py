"""A worker: slots that take a task, compute it in a child, promote, report, acknowledge; and a beat that says so."""

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from pydantic import ValidationError

from magellon.contracts.task import Beat, Running, Started, Task
from magellon.errors import BadInput, MagellonError, Transient
from magellon.platform.bus.connection import BUS_ERRORS, publish_record
from magellon.platform.bus.pull import Puller
from magellon.platform.bus.streams import ACKNOWLEDGE_WITHIN, TASKS, consumer_name, task_subject
from magellon.platform.store.roots import HOME_ROOT, Roots
from magellon.platform.worker.children import Children
from magellon.platform.worker.compute import Workshop, compute_task, find_root_names
from magellon.platform.worker.jobs import CANCELLED, STOPPED, Job, Outcome
from magellon.platform.worker.lanes import SHORT, Kind, Lanes
from magellon.platform.worker.reporter import Reporter
from magellon.platform.worker.requests import Displaced, Listener, TaskFailure
from magellon.platform.worker.served import Served
from magellon.platform.worker.subjects import Subjects

log = logging.getLogger("magellon.worker")

_LOOK_AGAIN = 1.0
_GATHER = 0.004
"""Seconds in which more slots may become idle, to ask for their tasks together."""
_FAREWELL = 3.0
"""Seconds a worker that is stopped takes to report what it has."""


class Worker:
    """All slots of one worker process."""

    def __init__(
        self,
        client: Client,
        name: str,
        workshop: Workshop,
        slots: int,
        refresh: Callable[[], Awaitable[Roots]],
        served: Served,
    ):
        self.client = client
        self.name = name
        self.incarnation = secrets.token_hex(8)
        self._workshop = workshop
        self._slots = slots
        self._refresh_roots = refresh
        self._roots = Roots({})
        self._served = served
        self._backends = served.list_backends()
        self._subjects = Subjects.of(self._backends)
        self._jobs: dict[str, Job] = {}
        """By identity: the same computation twice at a time would be waste."""
        self._idle = 0
        self._look_at = 0.0
        self._given: asyncio.Queue[Msg | None] = asyncio.Queue()
        """Tasks for idle slots; None: no more."""
        self._reporter = Reporter(client, self.incarnation)
        self._reporting: set[asyncio.Task[None]] = set()
        self._lanes = Lanes(served.finder.find)
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
        """Until drained, or until cancelled; the tasks at work are then given back.

        Raises:
            BadInput: it was started for backends that cannot run here.
        """
        self._roots = await self._refresh_roots()
        await self._try_environments()
        log.info("%s serves %s, %d tasks at a time", self.name, ", ".join(self._backends) or "nothing", self._slots)
        await self.client.subscribe("wake", cb=self._hear_wake)
        await self.client.subscribe(f"cancel.{self.name}", cb=self._hear_cancel)
        try:
            async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as group:
                children = [await stack.enter_async_context(self._open_children(number)) for number in range(self._slots)]
                beating = group.create_task(self._beat(beat_interval))
                feeding = group.create_task(self._feed())
                slots = [group.create_task(self._work(each)) for each in children]
                await asyncio.wait([feeding, *slots])
                await self._finish_reports(None)
                beating.cancel()
        finally:
            await self._finish_reports(_FAREWELL)
            with contextlib.suppress(*BUS_ERRORS):
                await publish_record(self.client, f"beat.{self.name}", self._describe(leaving=True))
                await self.client.flush(1)

    async def _finish_reports(self, patience: float | None) -> None:
        """What is not reported by then is found by whoever gets the task again."""
        if self._reporting:
            await asyncio.wait(self._reporting, timeout=patience)

    async def _try_environments(self) -> None:
        """A worker for certain backends is of no use without them, and its end says why.

        Raises:
            BadInput: none is installed here, or the environment of one is broken.
        """
        if self._served.only:
            if not self._backends:
                raise BadInput(f"no backend of {', '.join(self._served.only)} is installed here")
            async with self._open_children(0) as children:
                await children.check(self._backends)

    def _open_children(self, number: int) -> Children:
        output = self._workshop.logs / f"{self.name}-{number}.out"
        return Children(self._served.finder, self._workshop.threads, output)

    def _describe(self, running: tuple[Running, ...] = (), leaving: bool = False) -> Beat:
        return Beat(
            worker=self.name,
            incarnation=self.incarnation,
            slots=self._slots,
            running=running,
            backends=self._backends,
            host=socket.gethostname(),
            leaving=leaving,
        )

    async def _hear_wake(self, message: Msg) -> None:
        self._subjects.wake(message.data.decode())

    async def _hear_cancel(self, message: Msg) -> None:
        for word in message.data.decode().split(","):
            number, _, attempt = word.partition(".")
            for job in list(self._jobs.values()):
                self._drop(job, int(number), int(attempt))

    def _drop(self, job: Job, number: int, attempt: int) -> None:
        """Nobody wants this attempt any more; the computation ends when no other task waits for it."""
        task = job.tasks.get(number)
        if task is None or task.attempt != attempt:
            return
        if len(job.tasks) > 1:
            del job.tasks[number]
        elif job.running is not None and not job.cancelled:
            job.cancelled = True
            job.running.cancel()

    async def _beat(self, interval: float) -> None:
        extend_at = 0.0
        while True:
            running = tuple(
                Running(task=task.id, attempt=task.attempt, fraction=job.fraction, message=job.said)
                for job in self._jobs.values()
                for task in job.tasks.values()
            )
            with contextlib.suppress(*BUS_ERRORS):
                await publish_record(self.client, f"beat.{self.name}", self._describe(running))
                if time.monotonic() >= extend_at:
                    extend_at = time.monotonic() + ACKNOWLEDGE_WITHIN / 5
                    for job in list(self._jobs.values()):
                        await job.message.in_progress()
            await asyncio.sleep(interval)

    # Slots

    async def _feed(self) -> None:
        """Ask for as many tasks as there are idle slots, never for more, so that every worker of a site gets its share."""
        puller = Puller(self.client, TASKS)
        while not self._draining:
            if not self._idle:
                self._subjects.changed.clear()
                await self._subjects.changed.wait()
                await asyncio.sleep(_GATHER)
                continue
            for message in await self._take(puller):
                self._idle -= 1
                self._given.put_nowait(message)
        for _ in range(self._slots):
            self._given.put_nowait(None)

    async def _take(self, puller: Puller) -> list[Msg]:
        """The next tasks there are, of one subject, or none after a while."""
        if not self._workshop.is_there():
            await self._wait_for_results()
        subjects = self._subjects
        subjects.changed.clear()
        if time.monotonic() >= self._look_at:
            self._look_again()
        for key in subjects.keys:
            if subjects.worth_asking(key):
                subject = task_subject(*key)
                heard = subjects.hints.get(subject, 0)
                wanted = self._idle
                messages = await puller.take_now(consumer_name(*key), wanted)
                if len(messages) < wanted:
                    subjects.empty[subject] = heard
                if messages:
                    return messages
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN):
                await subjects.changed.wait()
        return []

    async def _wait_for_results(self) -> None:
        """Without them every task would fail for no fault of its own."""
        log.warning("%s is not there: no task is taken until it is mounted again", self._workshop.store.folder)
        while not (self._workshop.is_there() or self._draining):
            await asyncio.sleep(_LOOK_AGAIN)

    def _look_again(self) -> None:
        """Everywhere, as messages may have come back that nobody wakes for, and for plugins that came or went."""
        self._look_at = time.monotonic() + _LOOK_AGAIN
        self._workshop.clear_leftovers(self._jobs)
        backends = self._served.list_backends()
        if backends != self._backends:
            log.info("serves %s", ", ".join(backends) or "nothing")
            self._backends = backends
            self._subjects.choose(backends)
        self._subjects.look_everywhere()

    async def _work(self, children: Children) -> None:
        """A slot; it brings children of its own along, and works with those that a task is given."""
        await children.warm(self._backends if self._served.only else ())
        self._lanes.add(children)
        self._note_idle()
        while message := await self._given.get():
            await self._handle(message)
            self._note_idle()

    def _note_idle(self) -> None:
        self._idle += 1
        self._subjects.changed.set()

    async def _handle(self, message: Msg) -> None:
        try:
            task = Task.model_validate_json(message.data)
        except ValidationError as error:
            log.warning("a task nobody understands is dropped: %s", error)
            await self._acknowledge(message)
            return
        same = self._jobs.get(task.identity)
        if same is not None:
            await self._join(same, task, message)
            return
        job = self._jobs[task.identity] = Job({task.id: task}, message)
        outcome: Outcome | None = None
        job.running = asyncio.create_task(self._process(job, task))
        try:
            outcome = await job.running
        except asyncio.CancelledError:
            outcome = CANCELLED if job.cancelled else STOPPED
            if not job.cancelled or asyncio.current_task().cancelling():  # type: ignore[union-attr]
                raise
        finally:
            if outcome is not None:
                self._report_beside(self._report_outcome(job, task.identity, outcome))
            else:  # this worker has a defect and ends: the task has lost a worker
                self._announce(job, task, 0.0)

    async def _acknowledge(self, message: Msg) -> None:
        with contextlib.suppress(*BUS_ERRORS):  # it comes again, and its result is found
            await message.ack()

    async def _join(self, job: Job, task: Task, message: Msg) -> None:
        """Another task, or another attempt, waits for what a slot is at."""
        earlier = job.tasks.get(task.id)
        if earlier is None or earlier.attempt < task.attempt:
            job.tasks[task.id] = task
            await self._reporter.report(self._describe_start(task))
        await self._acknowledge(message)

    async def _process(self, job: Job, task: Task) -> Outcome:
        lost = job.message.metadata.num_delivered - 1
        kind = (task.category, task.backend)
        if self._lanes.is_short(kind) and not lost and task.attempt == 1:
            self._announce(job, task, SHORT)
        else:  # on the bus before it begins: a task that ends its workers is known by what they said
            await self._reporter.report(self._describe_start(task, lost))

        def listen(kind: str, fraction: float, text: str) -> None:
            if kind == "log" and text:
                log.info("%s: %s", _name(task), text)
            job.listen(fraction if kind == "progress" else None, text)

        try:
            roots = await self._know_roots(task)
            output, provenance = await self._compute(kind, task, roots, listen)
        except TaskFailure as failure:
            return Outcome.of(failure)
        except MagellonError as error:
            return Outcome("transient", str(error))
        return Outcome(output=output, provenance=provenance)

    async def _compute(self, kind: Kind, task: Task, roots: Roots, listen: Listener) -> tuple[dict[str, Any], dict[str, Any]]:
        """The output and the provenance, which is empty when the result was there already."""
        alone = False
        while True:
            with self._lanes.take_turn(kind, alone) as children:
                try:
                    output, provenance = await compute_task(self._workshop, children, task, roots, listen)
                except Displaced:
                    alone = True
                    continue
            if provenance:
                self._lanes.note_end(kind, provenance["seconds"])
            return output, provenance

    # Reports

    def _report_beside(self, reporting: Coroutine[Any, Any, None]) -> None:
        """While the slot goes on."""

        async def report() -> None:
            with contextlib.suppress(Transient):  # the connection was closed: the task comes again, and its result is found
                await reporting

        task = asyncio.create_task(report())
        self._reporting.add(task)
        task.add_done_callback(self._reporting.discard)

    def _announce(self, job: Job, task: Task, delay: float) -> None:
        """Say that a task began, unless it has ended by then."""

        def announce() -> None:
            self._report_beside(self._reporter.report(self._describe_start(task)))

        if delay:
            job.announcing = asyncio.get_running_loop().call_later(delay, announce)
        else:
            announce()

    async def _report_outcome(self, job: Job, identity: str, outcome: Outcome) -> None:
        """To each task that waits for it; the message is acknowledged when the bus has the reports on disk."""
        if job.announcing is not None:
            job.announcing.cancel()
        try:
            for task in job.each_task():
                if outcome.kind is not None:
                    log.warning("%s: %s: %s", _name(task), outcome.kind, outcome.message)
                await self._reporter.report(outcome.describe(task, self.name))
            await self._acknowledge(job.message)
        finally:
            del self._jobs[identity]
            self._busy_at = time.monotonic()

    def _describe_start(self, task: Task, lost: int = 0) -> Started:
        return Started(task=task.id, attempt=task.attempt, worker=self.name, incarnation=self.incarnation, lost=lost)

    async def _know_roots(self, task: Task) -> Roots:
        """The roots, asked for again when a session brought a new one."""
        if not find_root_names(task) <= {HOME_ROOT, *self._roots.folders}:
            self._roots = await self._refresh_roots()
        return self._roots


def _name(task: Task) -> str:
    """As lines of the log begin, so that those of one backend can be found."""
    return f"[{task.category}/{task.backend}] {task.label}"
