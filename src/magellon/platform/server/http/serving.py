"""The web server, in the event loop of the process that owns the ledger."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from nats.aio.msg import Msg

from magellon.errors import BadInput
from magellon.platform.people.directory import People
from magellon.platform.people.redaction import redact_logs
from magellon.platform.people.start_token import read_start_token
from magellon.platform.server.control import Control
from magellon.platform.server.dispatcher import Dispatcher
from magellon.platform.server.http.app import create_app
from magellon.platform.server.http.feed import Feed
from magellon.platform.server.http.protection import ProtectionSettings, read_protection_settings
from magellon.platform.server.http.services import Services
from magellon.platform.server.http.settings import ADDRESS_FILE, WebSettings
from magellon.platform.server.http.timing import Timing
from magellon.platform.server.plugins import Plugins
from magellon.platform.server.previews import Previewer
from magellon.platform.server.requests import Reception
from magellon.platform.store.files import write_atomically

log = logging.getLogger("magellon.http")

_GRACE = 2


def plan_protection(settings: WebSettings, state: Path) -> ProtectionSettings:
    """What an administrator wrote, with the names of the address listened on."""
    written = read_protection_settings(state)
    return written.model_copy(update={"hosts": tuple(dict.fromkeys((*written.hosts, *settings.hosts)))})


@asynccontextmanager
async def serve_web(dispatcher: Dispatcher, reception: Reception, settings: WebSettings) -> AsyncIterator[None]:
    """Answer requests until the end of the block.

    Raises:
        BadInput: the port cannot be had.
    """
    book = dispatcher.book
    people = People(book.ledger)
    people.adopt_start_token(read_start_token(book.home.state))
    feed = Feed(book.ledger)
    services = Services(
        book=book,
        control=Control(dispatcher),
        entrance=reception,
        people=people,
        feed=feed,
        previews=Previewer(dispatcher),
        dispatcher=dispatcher,
        watching=reception.watching,
        plugins=Plugins(dispatcher),
        data=settings.find_data(book.home.root),
    )
    app = create_app(services, plan_protection(settings, book.home.state))
    redact_logs("uvicorn", "uvicorn.error", "uvicorn.access")

    async def hear(message: Msg) -> None:
        feed.hear_progress(message.data)

    listening = await dispatcher.client.subscribe("progress.*", cb=hear)
    with open_socket(settings.host, settings.port) as listener:
        server = _Server(_configure(Timing(app, dispatcher.courtesy.note_answer)))
        async with _background(feed.run()), _background(server.serve(sockets=[listener])):
            write_address(book.home.state, settings.host, listener.getsockname()[1])
            try:
                yield
            finally:
                server.should_exit = True
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_GRACE + 1):
                        await server.ended.wait()
                (book.home.state / ADDRESS_FILE).unlink(missing_ok=True)
                if dispatcher.client.is_connected:
                    await listening.unsubscribe()


class _Server(uvicorn.Server):
    """Signals are the business of the process, not of its web server."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().serve(sockets)
        finally:
            self.ended.set()


def _configure(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type] # FastAPI's types and uvicorn's differ in names alone
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE,
        limit_concurrency=1000,
    )


@contextmanager
def open_socket(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        BadInput: there is no such address here, or another program has the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()  # who reads the address file may call at once, before the web server has begun
        except OSError as error:
            raise BadInput(f"cannot listen on {host} port {port}: {error.strerror}; give another --port") from error
        yield listener


def write_address(state: Path, host: str, port: int) -> None:
    """Tell programs of this user where the server is."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    url = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
    write_atomically(state / ADDRESS_FILE, json.dumps({"url": url}).encode(), mode=0o600)


@asynccontextmanager
async def _background(work: Coroutine[object, object, None]) -> AsyncIterator[None]:
    running = asyncio.create_task(work)
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
