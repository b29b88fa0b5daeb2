"""What the server asks of the launcher, which owns the processes of its machine: plain requests on the bus."""

from typing import Annotated, Literal

from pydantic import Field

from magellon.contracts import Record

STATE_SUBJECT = "launch.state"
SCALE_SUBJECT = "launch.scale"
MOST_REPLICAS = 64

PluginName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=100)]
BackendKey = Annotated[str, Field(pattern=r"^[a-z0-9_]+/[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=200)]
Condition = Literal["running", "waiting", "given up"]
"""`waiting`: it ended by itself and is started again after a while."""


class ProgramState(Record):
    """A process that the launcher keeps."""

    name: str
    plugin: str = ""
    """Whose worker it is; empty for bus, server and general workers."""
    condition: Condition
    pid: int | None = None
    restarts: int = 0
    reason: str = ""
    """How it last ended, and the last it said."""


class LaunchState(Record):
    """All of them."""

    programs: tuple[ProgramState, ...]
    replicas: dict[str, int]
    """Plugins that have workers of their own, or none on purpose (0)."""


class ScaleRequest(Record):
    """Give a plugin workers of its own; `replicas` None: general workers run it."""

    plugin: PluginName
    backends: tuple[BackendKey, ...]
    replicas: Annotated[int, Field(ge=0, le=MOST_REPLICAS)] | None
