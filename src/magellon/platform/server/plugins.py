"""What people ask about plugins, and what they tell them to do. Code never comes in this way: plugins are installed by hand."""

import asyncio
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from magellon.contracts import Record
from magellon.contracts.description import Description
from magellon.errors import BadInput, NotThere
from magellon.platform.bus.connection import BUS_ERRORS
from magellon.platform.bus.launching import SCALE_SUBJECT, STATE_SUBJECT, LaunchState, ScaleRequest
from magellon.platform.people.accounts import LOCAL
from magellon.platform.people.audit import Detail, record_act
from magellon.platform.pipeline.catalogue import read_catalogue
from magellon.platform.server.dispatcher import Dispatcher
from magellon.platform.server.health import Facts, PluginStatus, describe_plugins
from magellon.platform.server.settings import count_open_tasks, enable_backend, prefer_backend, read_settings
from magellon.platform.store.environments import list_environments

_LAUNCHER_ANSWERS_WITHIN = 2.0
_SCALED_WITHIN = 60.0
_PIECE = 64 << 10
_GENERAL_LOG = "worker.log"
_ACTS = {
    "enable": "enable",
    "disable": "disable",
    "prefer": "prefer backend",
    "scale": "scale plugin",
    "start": "start plugin",
    "stop": "stop plugin",
}
"""Requests that change something, as the audit log calls them."""


class PluginRequest(Record):
    """The same over the bus, for the command line."""

    do: Literal["list", "enable", "disable", "prefer", "scale", "start", "stop", "log", "count"]
    target: str = ""
    """Plugin, or `category/name`."""
    replicas: Annotated[int | None, Field(ge=0)] = None
    source: str | None = None
    after: int | None = None


class LogPiece(Record):
    """Lines of a log."""

    sources: tuple[str, ...]
    """Logs there are; the first is read unless another one is asked for."""
    source: str
    lines: tuple[str, ...]
    next: int
    """Give this as `after` to go on."""


class Plugins:
    """All raise NotThere when there is no such plugin or backend."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._book = dispatcher.book

    async def list_all(self) -> list[PluginStatus]:
        return describe_plugins(await self._gather_facts())

    async def show(self, name: str) -> PluginStatus:
        plugins = await self.list_all()
        found = next((plugin for plugin in plugins if plugin.name == name), None)
        if found is None:
            raise NotThere(f"there is no plugin {name!r} (there are {', '.join(plugin.name for plugin in plugins)})")
        return found

    async def describe(self, key: str) -> Description:
        """A backend with its parameters as JSON schema."""
        [key] = await self._find_backends(key)
        return (await self._read_catalogue())[key]

    async def enable(self, target: str, enabled: bool) -> list[str]:
        """Enable or disable a backend, or all of a plugin; which ones."""
        keys = await self._find_backends(target)
        with self._book.ledger.transaction() as connection:
            for key in keys:
                enable_backend(connection, key, enabled)
        return keys

    async def count_open_tasks(self, target: str) -> int:
        """How many tasks of jobs in work still need a plugin or backend."""
        keys = await self._find_backends(target)
        with self._book.ledger.transaction() as connection:
            return count_open_tasks(connection, keys)

    async def prefer(self, key: str) -> None:
        """Make a backend its category's default.

        Raises:
            BadInput: it is disabled, or cannot be used.
        """
        [key] = await self._find_backends(key)
        description = (await self._read_catalogue())[key]
        with self._book.ledger.transaction() as connection:
            refuse_unusable(description, read_settings(connection))
            prefer_backend(connection, key)

    async def scale(self, name: str, replicas: int | None) -> PluginStatus:
        """Give a plugin so many workers of its own; None: none, and the general workers run it.

        Raises:
            BadInput: the launcher refuses, or none answers.
        """
        plugin = await self.show(name)
        try:
            wish = ScaleRequest(plugin=name, backends=tuple(each.key for each in plugin.backends), replicas=replicas)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{name}, {first['loc'][0]} = {first['input']!r}: {first['msg']}") from error
        try:
            payload = wish.model_dump_json().encode()
            answer = await self._dispatcher.client.request(SCALE_SUBJECT, payload, timeout=_SCALED_WITHIN)
        except BUS_ERRORS as error:
            raise BadInput("no launcher answers: workers can be started only where `magellon up` runs them") from error
        reply = json.loads(answer.data)
        if "refused" in reply:
            raise BadInput(reply["refused"])
        return await self.show(name)

    async def start(self, name: str) -> PluginStatus:
        """Have it run again: a stopped one by the general workers, one with workers of its own by these, given up or not."""
        plugin = await self.show(name)
        return await self.scale(name, plugin.replicas or None)

    async def stop(self, name: str) -> PluginStatus:
        """Have nothing run it; what its workers are at is given back and waits."""
        return await self.scale(name, 0)

    async def read_log(self, name: str, source: str | None = None, after: int | None = None) -> LogPiece:
        """The end of a log, or what came after an earlier piece.

        Raises:
            NotThere: it has no such log.
        """
        plugin = await self.show(name)
        return read_log(self._book.home.logs, plugin, source, after)

    async def answer(self, data: bytes) -> Any:
        """Answer the command line.

        Raises:
            BadInput: nobody understands the request.
        """
        try:
            request = PluginRequest.model_validate_json(data)
        except ValidationError as error:
            raise BadInput(f"not a request about plugins: {error.errors()[0]['msg']}") from error
        answer = await self._do(request)
        if request.do in _ACTS:
            detail: Detail = {"replicas": request.replicas} if request.do == "scale" else {}
            with self._book.ledger.transaction() as connection:
                record_act(connection, self._book.now(), LOCAL, _ACTS[request.do], request.target, detail)
        return answer

    async def _do(self, request: PluginRequest) -> Any:
        match request.do:
            case "list":
                return [plugin.model_dump(mode="json") for plugin in await self.list_all()]
            case "enable" | "disable":
                return await self.enable(request.target, request.do == "enable")
            case "prefer":
                return await self.prefer(request.target)
            case "scale":
                return (await self.scale(request.target, request.replicas)).model_dump(mode="json")
            case "start":
                return (await self.start(request.target)).model_dump(mode="json")
            case "stop":
                return (await self.stop(request.target)).model_dump(mode="json")
            case "count":
                return await self.count_open_tasks(request.target)
            case "log":
                return (await self.read_log(request.target, request.source, request.after)).model_dump(mode="json")

    async def _find_backends(self, target: str) -> list[str]:
        return find_backends(Facts(await self._read_catalogue(), list_environments(self._book.home.plugins)), target)

    async def _read_catalogue(self) -> dict[str, Description]:
        return await asyncio.to_thread(read_catalogue, self._book.home.catalogue)

    async def _gather_facts(self) -> Facts:
        catalogue = await self._read_catalogue()
        launch = await self._ask_launcher()
        with self._book.ledger.transaction() as connection:
            settings = read_settings(connection)
        environments = list_environments(self._book.home.plugins)
        return Facts(catalogue, environments, settings, self._dispatcher.watch.list_sights(), launch=launch)

    async def _ask_launcher(self) -> LaunchState:
        try:
            answer = await self._dispatcher.client.request(STATE_SUBJECT, b"", timeout=_LAUNCHER_ANSWERS_WITHIN)
        except BUS_ERRORS:
            return LaunchState(programs=(), replicas={})  # workers are started elsewhere
        return LaunchState.model_validate(json.loads(answer.data)["answer"])


def find_backends(facts: Facts, target: str) -> list[str]:
    """Keys that a plugin's name or a `category/name` stands for.

    Raises:
        NotThere: none.
    """
    keys = [target] if target in facts.catalogue else facts.name_plugins().get(target, [])
    if not keys:
        raise NotThere(f"there is no plugin or backend {target!r} (there are {', '.join(facts.name_plugins())})")
    return keys


def refuse_unusable(description: Description, settings: Any) -> None:
    """Raises BadInput for a backend that no recipe could use."""
    setting = settings.get(description.key)
    if setting is not None and not setting.enabled:
        raise BadInput(f"{description.key} is disabled; enable it first")
    if description.error:
        raise BadInput(f"{description.key} cannot be used: {description.error}")


def read_log(folder: Path, plugin: PluginStatus, source: str | None, after: int | None) -> LogPiece:
    """A piece of one of a plugin's logs: those of its own workers, then what its backends print there.

    Without workers of its own, what the general workers' log says of its backends, then what all backends print there.

    Raises:
        NotThere: it has no such log.
    """
    workers = [program.name for program in plugin.programs]
    logs = [f"{name}.log" for name in workers] if workers else [_GENERAL_LOG]
    for name in workers or ["local"]:
        logs += sorted(path.name for path in folder.glob(f"{name}-[0-9]*.out"))
    logs = [name for name in logs if (folder / name).is_file()]
    if not logs or (source is not None and source not in logs):
        raise NotThere(f"{plugin.name} has no log {source or ''} (there are {', '.join(logs) or 'none'})")
    path = folder / (source or logs[0])
    size = path.stat().st_size
    begin = max(size - _PIECE, 0) if after is None else min(max(after, 0), size)
    with path.open("rb") as file:
        file.seek(begin)
        content = file.read(_PIECE)
    whole = content[: content.rfind(b"\n") + 1]
    if not whole and len(content) == _PIECE:
        whole = content  # a line longer than a piece
    lines = whole.decode(errors="replace").splitlines()
    if after is None and begin:
        lines = lines[1:]  # cut by where reading began
    if path.name == _GENERAL_LOG:
        marks = [f"[{backend.key}]" for backend in plugin.backends]
        lines = [line for line in lines if any(mark in line for mark in marks)]
    return LogPiece(sources=tuple(logs), source=path.name, lines=tuple(lines), next=begin + len(whole))
