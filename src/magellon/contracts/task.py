"""What crosses the bus: tasks for workers and what workers say about them. Metadata only; files stay on the filesystem.

Paths in these messages are rooted: `ROOT:relative/path`, where ROOT is `home` or a data root that each machine maps.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from magellon.contracts.record import Record

FailureKind = Literal["bad_input", "transient", "cancelled", "defect", "lost"]
"""Why a task failed. `defect`: any exception without a kind, or a crash. `lost`: its worker went away three times."""


class Task(Record):
    """One thing to compute."""

    id: int
    """Row in the ledger."""
    attempt: int
    identity: str
    """sha256 of what is computed; names the result's folder."""
    category: str
    backend: str
    version: int
    label: str
    """For people: session, step and item."""
    params: dict[str, Any]
    files_in_params: bool = False
    """Some parameter names a file, as a rooted path."""
    input: dict[str, Any] | None
    """None: too large for a message, so it lies in the file `input_file`."""
    input_file: str | None = None
    inputs: dict[str, Any] = Field(default_factory=dict)
    """What the identity was made of; kept with the result."""
    seed: int
    urgent: bool = False
    """Of a job that goes before others."""


class Started(Record):
    event: Literal["started"] = "started"
    task: int
    attempt: int
    worker: str
    incarnation: str
    lost: int = 0
    """Workers that were given this attempt before and went away without a word of it."""


class Finished(Record):
    event: Literal["finished"] = "finished"
    task: int
    attempt: int
    identity: str
    worker: str
    output: dict[str, Any]
    """The backend's output; its paths are relative to the result's folder."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """Host, device, threads, seconds: what is no part of the identity."""


class Failed(Record):
    event: Literal["failed"] = "failed"
    task: int
    attempt: int
    worker: str
    kind: FailureKind
    message: str
    traceback: str = ""


class Reports(Record):
    """What a worker has to say at one moment, in the order in which it happened."""

    reports: tuple[Annotated[Started | Finished | Failed, Field(discriminator="event")], ...]


class Running(Record):
    """A task as a worker's beat mentions it."""

    task: int
    attempt: int
    fraction: float = 0.0
    message: str = ""


class Beat(Record):
    """Sent every second over plain NATS: this worker lives, and this is what it computes."""

    worker: str
    incarnation: str
    slots: int
    running: tuple[Running, ...] = ()
    backends: tuple[str, ...] = ()
    """`category/name` of what it serves."""
    host: str = ""
    leaving: bool = False
    """Its last one: it was asked to stop."""
