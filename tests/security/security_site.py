"""A server with two sessions: one given to the viewer, one hidden from her that holds a word no answer to her may contain."""

import asyncio
import json
import struct
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI
from fastapi.testclient import TestClient
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoRespondersError
from sqlalchemy import func, select
from starlette.types import Message

import fake_backends
from magellon.backends.describe import describe_backend
from magellon.contracts.description import Description
from magellon.contracts.task import Failed, Finished, Started, Task
from magellon.platform.people.administration import Administration
from magellon.platform.people.directory import People
from magellon.platform.people.logins import Logins
from magellon.platform.pipeline.recipe import Recipe
from magellon.platform.server.advancing import advance_tasks
from magellon.platform.server.book import Book
from magellon.platform.server.control import Control
from magellon.platform.server.dispatcher import Dispatcher
from magellon.platform.server.events import enter_events
from magellon.platform.server.http.app import create_app
from magellon.platform.server.http.feed import Feed
from magellon.platform.server.http.protection import ProtectionSettings
from magellon.platform.server.http.services import Services
from magellon.platform.server.metrics import enter_metrics
from magellon.platform.server.plugins import Plugins
from magellon.platform.server.policy import Policy
from magellon.platform.server.publishing import take_due_tasks
from magellon.platform.server.requests import Reception
from magellon.platform.server.submitting import Submission, find_session, submit_session
from magellon.platform.server.watching import Watching
from magellon.platform.sessions.confining import OpenFolders
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.results import ResultStore
from magellon.platform.store.schema import artefacts, items, jobs, places, sessions, tasks
from people_cast import add_cast, make_quick_passwords

CANARY = "canary"
"""In every name, reason, path and value of the hidden session."""
HOSTILE_NAMES = (
    "a'b\"c;$(touch pwned)`touch pwned`&|.mrc",
    "<img src=x onerror=alert(1)>.mrc",
    "' OR 1=1 --.mrc",
    "{{7*7}}${7*7}%s%n.mrc",
    "_rlnMicrographName #1 loop_ data_.mrc",
    "-rf.mrc",
    "~root.mrc",
    "männlich ☃.mrc",
)
STEPS = ("motion_correction", "fft")


class SilentBus(Client):
    """Nobody listens."""

    async def request(self, *_: Any, **__: Any) -> Msg:
        raise NoRespondersError


@dataclass
class Ids:
    """Numbers of one session and of what belongs to it, by the names of path parameters."""

    session_id: int
    job_id: int
    task_id: int
    micrograph_id: int
    artefact_id: int


@dataclass
class Site:
    """A server, its people and its two sessions."""

    book: Book
    people: People
    app: FastAPI
    data: Path
    open: Ids
    hidden: Ids
    _tokens: dict[str, str] = field(default_factory=dict)

    def token(self, name: str) -> str:
        """A token of a person that works now."""
        if name not in self._tokens or self.people.recognise(self._tokens[name]) is None:
            self._tokens[name] = Administration(self.people, "test").issue_token(name, "test", 1)
        return self._tokens[name]

    def headers(self, name: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(name)}"} if name else {}

    def client(self) -> TestClient:
        return TestClient(self.app, base_url="http://localhost", raise_server_exceptions=False)


def build_site(folder: Path) -> Site:
    home = Home.at(folder / "home")
    home.prepare()
    ledger = Ledger.at(home.ledger)
    ledger.migrate()
    allowed = OpenFolders(((folder / "data").resolve(), home.root), (home.state,))
    book = Book(ledger, home, Policy(), ResultStore(home.results), allowed)
    people = People(ledger)
    administration = Administration(people, "test")
    passwords = make_quick_passwords()
    add_cast(administration, passwords)
    data = folder / "data"
    opened = _process(book, data / "open", "open", "")
    hidden = _process(book, data / CANARY, CANARY, CANARY)
    administration.give_session(opened.session_id, "vera")
    dispatcher = Dispatcher(book, SilentBus())
    watching = Watching(dispatcher)
    control, reception = Control(dispatcher), Reception(dispatcher, watching)
    open_folders = (data.resolve(), home.root)
    more = {"dispatcher": dispatcher, "plugins": Plugins(dispatcher), "watching": watching, "data": open_folders}
    services = Services(book, control, reception, people, Feed(ledger), **more)
    app = create_app(services, ProtectionSettings())
    app.state.gate = replace(app.state.gate, logins=Logins(people, passwords))
    return Site(book, people, app, data, opened, hidden)


def write_movies(folder: Path, names: tuple[str, ...], session: str) -> None:
    """MRC movies of 8 x 8 pixels and two frames."""
    folder.mkdir(parents=True)
    header = struct.pack("<10i", 8, 8, 2, 0, 0, 0, 0, 8, 8, 2) + struct.pack("<3f", 8, 8, 2) + bytes(12)
    header = (header + struct.pack("<3i", 1, 2, 3)).ljust(208, b"\0") + b"MAP " + bytes([0x44, 0x44, 0, 0])
    for name in names:
        (folder / name).write_bytes(header.ljust(1024, b"\0") + bytes(128))
    (folder / "session.json").write_text(json.dumps({"name": session, "movies": "*.mrc", "pixel_size": 1}))


def describe_fakes() -> dict[str, Description]:
    classes = (fake_backends.FakeMotion, fake_backends.FakeFft)
    return {description.key: description for description in map(describe_backend, classes)}


def _process(book: Book, folder: Path, session: str, mark: str) -> Ids:
    names = HOSTILE_NAMES if not mark else tuple(f"{mark}{number}.mrc" for number in range(3))
    write_movies(folder, names, session)
    recipe = Recipe.model_validate({"steps": {key: {"backend": "fake"} for key in STEPS}})
    submission = Submission(folder=str(folder), recipe=recipe)
    with book.ledger.transaction() as connection:
        job = submit_session(book, connection, submission, find_session(submission), describe_fakes())
    for attempt in range(3):
        with book.ledger.transaction() as connection:
            due = take_due_tasks(book, connection)
            events: list[Started | Finished | Failed] = []
            for number, task in enumerate(due):
                events.append(Started(task=task.id, attempt=task.attempt, worker=f"w{mark}", incarnation="i"))
                fails = number == 1 and not attempt
                events.append(_fail(task, mark) if fails else _finish(book, task, mark))
            touched = enter_events(book, connection, events)
            enter_metrics(book, connection, [*touched, *advance_tasks(book, connection, touched)])
    return _add_rest(book, job, folder, mark)


def _fail(task: Task, mark: str) -> Failed:
    said = f"{mark} cannot be read" if mark else "<script>alert(1)</script> cannot be read"
    return Failed(task=task.id, attempt=task.attempt, worker=f"w{mark}", kind="bad_input", message=said, traceback=said)


def _finish(book: Book, task: Task, mark: str) -> Finished:
    micrograph = {"name": f"m{mark}", "path": "m.mrc", "pixel_size": 1, "shape": [4, 4]}
    output: dict[str, Any] = {"picture": "m.png"}
    if task.category == "motion_correction":
        output = {"micrograph": micrograph, "unweighted": micrograph, "even": None, "odd": None, "star": "m.star", "frames": 2}
        output |= {"plot": "m.png", "total_motion": 7, "early_motion": 1, "late_motion": 1}
    folder = book.store.path(task.identity)
    if not folder.exists():
        folder.mkdir(parents=True)
        for name in ("m.mrc", "m.star", "m.png"):
            (folder / name).write_text(f"content of {mark or 'open'} " * 20)
        files = {name: (folder / name).stat().st_size for name in ("m.mrc", "m.star", "m.png")}
        (folder / "result.json").write_text(json.dumps({"files": files, "output": output}))
    return Finished(
        task=task.id, attempt=task.attempt, identity=task.identity, worker=f"w{mark}", output=output, provenance={"host": mark}
    )


def _add_rest(book: Book, job: int, folder: Path, mark: str) -> Ids:
    (folder / "map.mrc").write_text(f"map of {mark or 'open'}")
    with book.ledger.transaction() as connection:
        session = connection.execute(select(jobs.c.session_id).where(jobs.c.id == job)).scalar_one()
        values = {"session_id": session, "kind": "map", "name": f"{mark}map", "path": str(folder / "map.mrc"), "detail": {}}
        connection.execute(artefacts.insert().values(**values, created_at=time.time(), created_by="otto"))
        connection.execute(places.insert().values(session_id=session, kind="square", name=f"{mark}square", detail={}))
        of_job = select(tasks.c.id, tasks.c.identity).where(tasks.c.job_id == job).order_by(tasks.c.id).limit(1)
        task, identity = connection.execute(of_job).one()
        item = connection.execute(select(func.min(items.c.id)).where(items.c.session_id == session)).scalar_one()
        artefact = connection.execute(select(artefacts.c.id).where(artefacts.c.session_id == session)).scalar_one()
        name = connection.execute(select(sessions.c.name).where(sessions.c.id == session)).scalar_one()
    shown = book.home.sessions / name
    shown.mkdir(parents=True, exist_ok=True)
    (shown / "m.star").symlink_to(book.store.path(identity) / "m.star")
    return Ids(session, job, task, item, artefact)


def ask_raw(site: Site, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """GET a path just as it is, which clients would tidy up before they send it; status and body."""
    raw = path.encode("utf-8", "surrogateescape")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "",
        "path": unquote(path, errors="replace"), "raw_path": raw, "query_string": b"", "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "headers": [(b"host", b"localhost"), *((name.lower().encode(), value.encode()) for name, value in headers.items())],
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(site.app(scope, receive, send))
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], body.decode(errors="replace")
