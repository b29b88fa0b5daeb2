"""What workers and the foreground command ask of the server, over the bus."""

import asyncio
import contextlib
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from nats.aio.msg import Msg
from sqlalchemy import update

from magellon.contracts import Record
from magellon.errors import BadInput, MagellonError
from magellon.platform.bus.connection import BUS_ERRORS
from magellon.platform.people.accounts import LOCAL
from magellon.platform.people.audit import Detail, record_act
from magellon.platform.pipeline.catalogue import read_catalogue
from magellon.platform.pipeline.recipe import GAIN_CHECK_CATEGORY, add_gain_check, list_wanted
from magellon.platform.server.cleaning import CleanRequest, clean_home
from magellon.platform.server.demand import count_demand
from magellon.platform.server.dispatcher import Dispatcher
from magellon.platform.server.entering import enter_session
from magellon.platform.server.placing import read_known_groups
from magellon.platform.server.plugins import Plugins
from magellon.platform.server.report import make_summary
from magellon.platform.server.submitting import Submission, find_session
from magellon.platform.server.watching import Watching
from magellon.platform.sessions.found import FoundSession, has_unsaid_gain
from magellon.platform.store.roots import renew_sample
from magellon.platform.store.schema import jobs

_REQUESTS_KEPT = 20

log = logging.getLogger("magellon.server")


class JobRequest(Record):
    job: int


class Hello(Record):
    """A worker introduces itself."""

    worker: str
    home_token: str
    """sha256 of the token file under the home as the worker sees it."""


class Reception:
    """Answers requests: `{"answer": ...}` or `{"refused": why}`."""

    def __init__(self, dispatcher: Dispatcher, watching: Watching) -> None:
        self._dispatcher = dispatcher
        self.watching = watching
        self._book = dispatcher.book
        self._plugins = Plugins(dispatcher)
        self._submitting: dict[bytes, asyncio.Task[int]] = {}
        self._entering = asyncio.Lock()
        self._opened = False

    def answers(self) -> dict[str, Callable[[bytes], Awaitable[Any]]]:
        """By subject."""
        return {
            "api.hello": self._greet,
            "api.submit": self._submit_from_here,
            "api.summary": self._summarise,
            "api.plugins": self._plugins.answer,
            "api.demand": self._count,
            "api.clean": self._clean,
        }

    async def open(self) -> None:
        """Begin to answer; no change if it does already."""
        if self._opened:
            return
        self._opened = True
        for subject, answer in self.answers().items():
            await self._dispatcher.client.subscribe(subject, cb=self._responder(answer))

    def _responder(self, answer: Callable[[bytes], Awaitable[Any]]) -> Callable[[Msg], Awaitable[None]]:
        pending: set[asyncio.Task[None]] = set()

        async def respond(message: Msg) -> None:
            try:
                reply: dict[str, Any] = {"answer": await answer(message.data)}
            except MagellonError as error:
                reply = {"refused": str(error)}
            except Exception as error:
                log.exception("a request failed")
                reply = {"refused": f"the server failed: {type(error).__name__}: {error}"}
            with contextlib.suppress(*BUS_ERRORS):
                await message.respond(json.dumps(reply).encode())

        async def start(message: Msg) -> None:
            task = asyncio.create_task(respond(message))  # a long one must not keep others waiting
            pending.add(task)
            task.add_done_callback(pending.discard)

        return start

    async def _greet(self, data: bytes) -> Any:
        hello = Hello.model_validate_json(data)
        expected = hashlib.sha256(self._book.home.token_file.read_bytes()).hexdigest()
        if hello.home_token != expected:
            raise BadInput(f"wrong mount: worker {hello.worker} does not see the server's home {self._book.home.root}")
        with self._book.ledger.transaction() as connection:
            roots = self._book.list_roots(connection)
        return [renew_sample(root).model_dump(mode="json") for root in roots]

    async def enter_submission(self, submission: Submission) -> int:
        """Take a session in; the number of its job.

        Raises:
            BadInput: folder or recipe cannot be used.
        """
        return await self._submit(submission.model_dump_json().encode())

    async def _submit_from_here(self, data: bytes) -> int:
        """Of somebody who may read the home: a command on this machine."""
        known = data in self._submitting
        job = await self._submit(data)
        if not known:
            self._note("submit session", Submission.model_validate_json(data).folder, {"job": job})
        return job

    def _note(self, action: str, target: str, detail: Detail) -> None:
        with self._book.ledger.transaction() as connection:
            record_act(connection, self._book.now(), LOCAL, action, target, detail)

    async def _submit(self, data: bytes) -> int:
        """Reading headers may take minutes: who asks again, as no answer came in time, gets the first request's answer."""
        submission = Submission.model_validate_json(data)
        if data not in self._submitting:
            self._submitting[data] = asyncio.create_task(self._enter(submission))
            self._submitting[data].add_done_callback(lambda task: self._forget(data, submission, task))
        return await asyncio.shield(self._submitting[data])

    def _forget(self, data: bytes, submission: Submission, task: "asyncio.Task[int]") -> None:
        """Keep the latest answers to requests that have a name; the same without a name is another request."""
        if not submission.request or task.cancelled() or task.exception() is not None:
            del self._submitting[data]
        answered = [key for key, known in self._submitting.items() if known.done()]
        for key in answered[:-_REQUESTS_KEPT]:
            del self._submitting[key]

    async def _enter(self, submission: Submission) -> int:
        with self._book.ledger.transaction() as connection:
            known = read_known_groups(connection, Path(submission.folder).resolve())
        found = await asyncio.to_thread(self._find, submission, known)
        recipe = add_gain_check(submission.recipe) if has_unsaid_gain(found) else submission.recipe
        catalogue = await asyncio.to_thread(read_catalogue, self._book.home.catalogue, list_wanted(recipe))
        if any(each.category == GAIN_CHECK_CATEGORY and each.error is None for each in catalogue.values()):  # it is installed
            submission = submission.model_copy(update={"recipe": recipe})
        async with self._entering:  # one after the other, as two may be of the same folder
            job = await enter_session(self._book, submission, found, catalogue)
        await self._dispatcher.relink(job)
        self._dispatcher.note_change(job)
        self._dispatcher.ask_to_publish()
        if submission.live:
            self.watching.start_job(job)
        return job

    def _find(self, submission: Submission, known: Mapping[str, str]) -> FoundSession:
        return self._book.open_folders.confine_session(find_session(submission, known))

    async def _summarise(self, data: bytes) -> Any:
        job = JobRequest.model_validate_json(data).job
        with self._book.ledger.transaction() as connection:
            summary = make_summary(self._book, connection, job)
            connection.execute(update(jobs).where(jobs.c.id == job).values(active=False))
            return summary.model_dump(mode="json")

    async def _count(self, data: bytes) -> Any:
        with self._book.ledger.transaction() as connection:
            return [demand.model_dump() for demand in count_demand(connection)]

    async def _clean(self, data: bytes) -> Any:
        living = {beat.worker for beat in self._dispatcher.watch.list_beats()}
        request = CleanRequest.model_validate_json(data)
        cleaned = await clean_home(self._book, request, living)
        if not request.dry_run:
            detail = {"older than": request.older_than, "results": cleaned.results, "left over": cleaned.left_over}
            self._note("clean", str(self._book.home.root), detail)
        return cleaned.model_dump()
