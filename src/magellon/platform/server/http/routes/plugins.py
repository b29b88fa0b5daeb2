"""Plugins: how they are, which may be used, which one a category takes, and their workers. None can be installed this way."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field

from magellon.contracts import Record
from magellon.errors import NotThere
from magellon.platform.bus.launching import MOST_REPLICAS
from magellon.platform.people.caller import Caller
from magellon.platform.people.roles import Role
from magellon.platform.server.health import PluginStatus
from magellon.platform.server.http.acts import note_act
from magellon.platform.server.http.security import require
from magellon.platform.server.http.services import Served, Services
from magellon.platform.server.plugins import LogPiece, Plugins

router = APIRouter(tags=["plugins"])

Viewer = Annotated[Caller, Depends(require(Role.VIEWER))]
Operator = Annotated[Caller, Depends(require(Role.OPERATOR))]
Admin = Annotated[Caller, Depends(require(Role.ADMIN))]
Name = Annotated[str, Path(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=100, examples=["magellon"])]
Category = Annotated[str, Path(pattern=r"^[a-z0-9_]+$", max_length=100, examples=["fft"])]
Backend = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100, examples=["fft"])]


class PluginList(Record):
    """All plugins, that of Magellon first."""

    items: tuple[PluginStatus, ...]


class Scale(Record):
    """How many workers of its own a plugin is to have."""

    replicas: int | None = Field(ge=0, le=MOST_REPLICAS, description="null: the general workers run it; 0: nothing does.")


class Touched(Record):
    """Backends that a request was about."""

    backends: tuple[str, ...] = Field(examples=[["fft/fft"]])


def _show(status: PluginStatus, caller: Caller) -> PluginStatus:
    return status if caller.role >= Role.OPERATOR else status.hide_words()


def find_plugins(served: Services) -> Plugins:
    if served.plugins is None:
        raise NotThere("plugins are not managed here")
    return served.plugins


@router.get("/plugins")
async def list_plugins(served: Served, caller: Viewer) -> PluginList:
    """What is installed, with versions and health: enabled, live, healthy, and the reason when not."""
    return PluginList(items=tuple(_show(status, caller) for status in await find_plugins(served).list_all()))


@router.get("/plugins/{plugin}")
async def get_plugin(plugin: Name, served: Served, caller: Viewer) -> PluginStatus:
    """One plugin with its backends and workers."""
    return _show(await find_plugins(served).show(plugin), caller)


@router.get("/plugins/{plugin}/log")
async def get_plugin_log(
    plugin: Name,
    served: Served,
    caller: Operator,
    source: Annotated[str | None, Query(max_length=200, description="One of `sources`; left out, the first.")] = None,
    after: Annotated[int | None, Query(ge=0, le=2**53, description="`next` of the piece before.")] = None,
) -> LogPiece:
    """The end of the log of its workers, or what came after an earlier piece."""
    return await find_plugins(served).read_log(plugin, source, after)


@router.put("/plugins/{plugin}/replicas")
async def scale_plugin(plugin: Name, scale: Scale, served: Served, caller: Admin) -> PluginStatus:
    """Give it workers of its own, or hand it back to the general ones."""
    status = await find_plugins(served).scale(plugin, scale.replicas)
    note_act(served, caller, "scale plugin", plugin, {"replicas": scale.replicas})
    return status


@router.post("/plugins/{plugin}/start")
async def start_plugin(plugin: Name, served: Served, caller: Admin) -> PluginStatus:
    """Have a stopped one run again; try workers again that were given up."""
    status = await find_plugins(served).start(plugin)
    note_act(served, caller, "start plugin", plugin)
    return status


@router.post("/plugins/{plugin}/stop")
async def stop_plugin(plugin: Name, served: Served, caller: Admin) -> PluginStatus:
    """Have nothing run it; what is at work is given back, and its tasks wait."""
    status = await find_plugins(served).stop(plugin)
    note_act(served, caller, "stop plugin", plugin)
    return status


@router.post("/plugins/{plugin}/enable")
async def enable_plugin(plugin: Name, served: Served, caller: Admin) -> Touched:
    """Let recipes use all its backends."""
    return await _enable(served, caller, plugin, True)


@router.post("/plugins/{plugin}/disable")
async def disable_plugin(plugin: Name, served: Served, caller: Admin) -> Touched:
    """Refuse recipes that use one of its backends. Jobs that do so already go on."""
    return await _enable(served, caller, plugin, False)


@router.post("/backends/{category}/{backend}/enable")
async def enable_backend(category: Category, backend: Backend, served: Served, caller: Admin) -> Touched:
    """Let recipes use it."""
    return await _enable(served, caller, f"{category}/{backend}", True)


@router.post("/backends/{category}/{backend}/disable")
async def disable_backend(category: Category, backend: Backend, served: Served, caller: Admin) -> Touched:
    """Refuse recipes that use it. Jobs that do so already go on."""
    return await _enable(served, caller, f"{category}/{backend}", False)


@router.post("/backends/{category}/{backend}/prefer")
async def prefer_backend(category: Category, backend: Backend, served: Served, caller: Admin) -> Touched:
    """Make it what a step of its category takes where the recipe names none."""
    key = f"{category}/{backend}"
    await find_plugins(served).prefer(key)
    note_act(served, caller, "prefer backend", key)
    return Touched(backends=(key,))


async def _enable(served: Services, caller: Caller, target: str, enabled: bool) -> Touched:
    keys = await find_plugins(served).enable(target, enabled)
    note_act(served, caller, "enable" if enabled else "disable", target, {"backends": ", ".join(keys)})
    return Touched(backends=tuple(keys))
