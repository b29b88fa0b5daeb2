"""A computation that a slot is at, who waits for it, and how it ended."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nats.aio.msg import Msg

from magellon.contracts.task import Failed, FailureKind, Finished, Task
from magellon.platform.worker.requests import TaskFailure

_KINDS = ("bad_input", "transient", "cancelled")


@dataclass(frozen=True)
class Outcome:
    """How a computation ended; `kind` is None when it ended well."""

    kind: FailureKind | None = None
    message: str = ""
    traceback: str = ""
    output: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, failure: TaskFailure) -> "Outcome":
        kind: FailureKind = failure.kind if failure.kind in _KINDS else "defect"  # type: ignore[assignment]
        return cls(kind, failure.message, failure.traceback)

    def describe(self, task: Task, worker: str) -> Finished | Failed:
        """What a task that waits for it reports."""
        if self.kind is None:
            return Finished(
                task=task.id, attempt=task.attempt, identity=task.identity, worker=worker,
                output=self.output, provenance=self.provenance,
            )  # fmt: skip
        return Failed(
            task=task.id, attempt=task.attempt, worker=worker,
            kind=self.kind, message=self.message, traceback=self.traceback,
        )  # fmt: skip


CANCELLED = Outcome("cancelled", "cancelled")
STOPPED = Outcome("cancelled", "the worker was stopped")


@dataclass
class Job:
    """A computation at work or being reported, and the tasks that wait for it: several jobs of people may ask for the same."""

    tasks: dict[int, Task]
    message: Msg
    running: "asyncio.Task[Outcome] | None" = None
    announcing: asyncio.Handle | None = None
    """Will say that it began, unless it ends before."""
    cancelled: bool = False
    fraction: float = 0.0
    said: str = ""

    def listen(self, fraction: float | None, text: str) -> None:
        """What the backend says on the way."""
        if fraction is not None:
            self.fraction = fraction
        self.said = text or self.said

    def each_task(self) -> Iterator[Task]:
        """Each task that waits, also those that join while others are reported."""
        told: set[tuple[int, int]] = set()
        while left := [task for task in self.tasks.values() if (task.id, task.attempt) not in told]:
            told.add((left[0].id, left[0].attempt))
            yield left[0]
