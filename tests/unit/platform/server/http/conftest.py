"""The web application over a small job: five movies, of which three are corrected, one failed and one is open."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from task_reports import failed, finished, started

from magellon.contracts.task import Finished
from magellon.errors import BadInput, NotThere
from magellon.platform.people.accounts import NewAccount, add_account
from magellon.platform.people.caller import How
from magellon.platform.people.credentials import NewCredential, issue_credential
from magellon.platform.people.directory import People
from magellon.platform.people.roles import Role
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.server.advancing import advance_tasks
from magellon.platform.server.book import Book
from magellon.platform.server.events import enter_events
from magellon.platform.server.http.app import create_app
from magellon.platform.server.http.feed import Feed
from magellon.platform.server.http.gate import open_gate
from magellon.platform.server.http.protection import ProtectionSettings
from magellon.platform.server.http.services import Services
from magellon.platform.server.metrics import enter_metrics
from magellon.platform.server.policy import Policy
from magellon.platform.server.publishing import take_due_tasks
from magellon.platform.server.submitting import Submission
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.results import ResultStore

MOTION = (30.0, 10.0, 20.0)


@dataclass
class FakeControl:
    """Notes what is asked for."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def _note(self, *call: Any) -> int:
        self.calls.append(call)
        if call[1] == 999:
            raise NotThere("there is none")
        return 3

    async def retry_task(self, task: int) -> None:
        self._note("retry_task", task)
        if task == 1:
            raise BadInput("task 1 is completed; only failed and cancelled tasks can be tried again")

    async def retry_failed(self, job: int, cancelled: bool = False) -> int:
        return self._note("retry_failed", job, cancelled)

    async def cancel_task(self, task: int) -> None:
        self._note("cancel_task", task)

    async def cancel_job(self, job: int) -> int:
        return self._note("cancel_job", job)

    async def pause(self, job: int) -> None:
        self._note("pause", job)

    async def resume(self, job: int) -> None:
        self._note("resume", job)

    async def set_priority(self, job: int, priority: int) -> None:
        self._note("set_priority", job, priority)

    async def change_parameters(self, job: int, recipe: Recipe) -> int:
        return self._note("change_parameters", job, recipe)


@dataclass
class FakeEntrance:
    """Takes every session in as the job there is."""

    job: int
    seen: list[Submission] = field(default_factory=list)

    async def enter_submission(self, submission: Submission) -> int:
        self.seen.append(submission)
        return self.job


def complete(book: Book, event: Finished) -> None:
    """A result with its files, as a worker promotes it."""
    folder = book.store.path(event.identity)
    folder.mkdir(parents=True)
    names = ("m.mrc", "m.star", "m.png")
    for name in names:
        (folder / name).write_bytes(name.encode() * 100)
    files = {name: (folder / name).stat().st_size for name in names}
    (folder / "result.json").write_text(json.dumps({"files": files, "output": event.output}))


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With all its tables, to be copied."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    ledger = Ledger.at(path)
    ledger.migrate()
    ledger.close()
    return path


@pytest.fixture
def book(tmp_path: Path, empty_ledger: Path) -> Iterator[Book]:
    home = Home.at(tmp_path / "home")
    home.prepare()
    shutil.copy(empty_ledger, home.ledger)
    ledger = Ledger.at(home.ledger)
    yield Book(ledger, home, Policy(window=3), ResultStore(home.results))
    ledger.close()


@pytest.fixture(scope="session")
def application() -> FastAPI:
    """Made once, as that takes a while; its services change."""
    nothing: Any = SimpleNamespace(people=None)
    return create_app(nothing, ProtectionSettings(hosts=("*",)))


@pytest.fixture
def worked(book: Book, job: int) -> int:
    """The job, worked on; its number."""
    with book.ledger.transaction() as connection:
        first = take_due_tasks(book, connection)
        assert len(first) == 3
        events = []
        for task, motion in zip(first, MOTION, strict=True):
            event = finished(task)
            output = {**event.output, "total_motion": motion}
            event = event.model_copy(update={"output": output, "provenance": {"host": "node7", "seconds": 2.5}})
            complete(book, event)
            events += [started(task), event]
        touched = enter_events(book, connection, events)
        enter_metrics(book, connection, [*touched, *advance_tasks(book, connection, touched)])
        fourth = next(task for task in take_due_tasks(book, connection) if task.category == "motion_correction")
        advance_tasks(book, connection, enter_events(book, connection, [started(fourth), failed(fourth, "bad_input")]))
    return job


@dataclass
class Site:
    """A server with three people."""

    book: Book
    job: int
    control: FakeControl
    entrance: FakeEntrance
    services: Services
    client: TestClient
    tokens: dict[Role, str]

    def ask(self, method: str, path: str, role: Role | None = Role.ADMIN, **more: Any) -> Any:
        headers = {**more.pop("headers", {}), **({"Authorization": f"Bearer {self.tokens[role]}"} if role else {})}
        return self.client.request(method, f"/api/v1{path}", headers=headers, **more)

    def get(self, path: str, role: Role | None = Role.ADMIN, **more: Any) -> Any:
        answer = self.ask("GET", path, role, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def site(application: FastAPI, book: Book, worked: int, tmp_path: Path) -> Iterator[Site]:
    people = People(book.ledger)
    tokens = {}
    with book.ledger.transaction() as connection:
        for role in Role:
            account = add_account(connection, NewAccount(f"{role}-person", role), 1.0)
            tokens[role] = issue_credential(connection, NewCredential(account.id, How.TOKEN, "test", time.time(), 1000.0))
    control, entrance = FakeControl(), FakeEntrance(worked)
    data = (tmp_path.resolve(),)
    services = Services(book, control, entrance, people, Feed(book.ledger), data=data)
    application.state.services, application.state.gate = services, open_gate(people, None, False)
    client = TestClient(application, raise_server_exceptions=False)
    yield Site(book, worked, control, entrance, services, client, tokens)
    client.close()
