"""The parent's side of a warm child process: start it, give it tasks, kill it with everything it started.

Used by the worker and, without any bus, by `magellon run`:

    async with Child() as child:
        done = await child.run(Request("fft", "fft", params={}, input=..., workdir=...))
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from magellon.errors import BadInput
from magellon.platform.worker.life import Life
from magellon.platform.worker.requests import Done, Listener, Request

_TAIL = 2000


def _ignore(kind: str, fraction: float, message: str) -> None:
    pass


@dataclass
class Child:
    """A warm child, started when first needed and again after a crash, a cancel or too much memory."""

    environment: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    output_file: Path | None = None
    """Where what the child prints goes; nowhere by default."""
    python: str = sys.executable
    """Another interpreter for a plugin that lives in an environment of its own."""
    inherited: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """Variables it starts with; those of this process by default."""
    _life: Life | None = None
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def pid(self) -> int | None:
        return self._life.process.pid if self._life and not self._life.is_over else None

    @property
    def seconds_at_work(self) -> float:
        """At the task it is at; 0 when there is none."""
        return self._life.seconds_at_work if self._life else 0.0

    async def start(self) -> None:
        """Start the process if it does not run. Warm-up before the first task is optional."""
        await self._live()

    async def _live(self) -> Life:
        if self._life is not None and not self._life.is_over:
            return self._life
        async with self._starting:  # several tasks may find it gone
            if self._life is None or self._life.is_over:
                await self.close()
                command = (self.python, "-m", "magellon.backends.child")
                self._life = await Life.begin(command, self._environment(), self.output_file)
            return self._life

    async def wait_until_ready(self) -> None:
        """Start the process and hear its first word.

        Raises:
            BadInput: it does not come up; with the end of what it said.
        """
        try:
            life = await self._live()
        except OSError as error:
            raise BadInput(f"{self.python} cannot be started: {error}") from error
        if not await life.ready:
            raise BadInput(f"{self.python}: the computing process {await life.tell_end()}: {self._read_last_line()}")

    def _read_last_line(self) -> str:
        try:
            with open(self.output_file or os.devnull, "rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(file.tell() - _TAIL, 0))
                lines = file.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return "it said nothing"
        return lines[-1] if lines else "it said nothing"

    def _environment(self) -> dict[str, str]:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
        return {
            **self.inherited,
            **dict.fromkeys(names, str(self.threads)),
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait leave the core to the other children
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # torch's deterministic algorithms ask for it
            "PYTHONUNBUFFERED": "1",
            **self.environment,
        }

    async def run(self, request: Request, listen: Listener | None = None) -> Done:
        """Run one task, after those it was given before. Cancelling this coroutine kills the child and all it started,
        unless the task has not begun.

        Raises:
            TaskFailure: with the kind of the failure.
            Displaced: of several tasks at a time, another one ended the child, or takes long.
        """
        life = await self._live()
        return await life.ask(vars(request), request.memory, listen or _ignore)

    def put_off_waiting(self) -> None:
        """Displace the tasks that have not begun."""
        if self._life is not None:
            self._life.put_off_waiting()

    async def close(self) -> None:
        """Kill the process, if it runs, with everything it started."""
        life, self._life = self._life, None
        if life is not None:
            await life.end()
