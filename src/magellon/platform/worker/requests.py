"""What a computing process is asked for, and how that ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Listener = Callable[[str, float, str], None]
"""Called with ("progress", fraction, message) or ("log", 0, line) while a task runs."""


@dataclass(frozen=True)
class Request:
    """One task for a child. Paths are absolute, as strings or inside the plain data of the input record."""

    category: str
    backend: str
    params: Mapping[str, Any]
    input: Mapping[str, Any]
    workdir: str
    version: int | None = None
    device: str = "auto"
    threads: int = 1
    memory: int = 4 << 30
    seed: int = 0
    log: str | None = None
    """File to which the backend's log lines are appended."""


@dataclass(frozen=True)
class Done:
    """How a task ended well. Paths in `output` are relative to the working folder."""

    output: dict[str, Any]
    device: str
    seconds: float


@dataclass
class TaskFailure(Exception):
    """How a task ended otherwise."""

    kind: str
    message: str
    traceback: str = ""
    crashed: bool = False
    """The child itself went away, or ran out of memory: another one takes its place."""

    def __str__(self) -> str:
        return self.message


class Displaced(Exception):
    """A task was not answered for no fault of its own: another one ended the child, or takes long. Ask again."""
