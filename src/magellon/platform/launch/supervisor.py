"""Keeps a set of processes running: what dies is started again with back-off; when the supervisor dies, all die with it."""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from magellon.contracts.lifeline import die_with_parent
from magellon.errors import Transient

log = logging.getLogger("magellon.supervisor")

_SHORTEST_DELAY, _LONGEST_DELAY = 0.1, 5.0
_STEADY_AFTER = 10.0
"""Seconds of running after which the back-off starts anew."""
_GIVE_UP_AFTER = 12
"""Starts in a row without a steady run."""
_GRACE = 10.0


@dataclass(frozen=True)
class Program:
    """A process to keep running."""

    name: str
    argv: Sequence[str]
    output: Path
    final_statuses: frozenset[int] = frozenset()
    """Exit statuses after which starting again would not help."""
    pass_fds: Sequence[int] = ()
    environment: Mapping[str, str] | None = None


@dataclass
class Supervisor:
    """Start programs in order, keep them, stop them in reverse order."""

    pids: dict[str, int] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    _keepers: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _failed: "asyncio.Future[None] | None" = None

    async def keep(self, program: Program) -> None:
        """Start a program and keep it running."""
        started = asyncio.Event()
        self._keepers[program.name] = asyncio.create_task(self._keep(program, started))
        await started.wait()

    async def wait_for_failure(self) -> None:
        """Returns never; raises when a program cannot be kept running.

        Raises:
            Transient: which program, and the end of what it said.
        """
        await self._failure()

    def _failure(self) -> "asyncio.Future[None]":
        if self._failed is None:
            self._failed = asyncio.get_running_loop().create_future()
        return self._failed

    async def _keep(self, program: Program, started: asyncio.Event) -> None:
        delay, attempts = _SHORTEST_DELAY, 0
        while True:
            began = time.monotonic()
            with program.output.open("ab") as output:
                process = await asyncio.create_subprocess_exec(
                    *program.argv,
                    stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                    pass_fds=program.pass_fds, env=program.environment,
                    start_new_session=True,  # Ctrl-C at the terminal reaches the supervisor alone
                    preexec_fn=die_with_parent(),
                )  # fmt: skip
            self.pids[program.name] = process.pid
            started.set()
            try:
                status = await process.wait()
            except asyncio.CancelledError:
                await _stop(process)
                raise
            finally:
                self.pids.pop(program.name, None)
            if time.monotonic() - began > _STEADY_AFTER:
                delay, attempts = _SHORTEST_DELAY, 0
            attempts += 1
            if status in program.final_statuses or attempts >= _GIVE_UP_AFTER:
                self._give_up(program, status)
                return
            log.warning("%s ended with status %s and is started again", program.name, status)
            self.restarts[program.name] = self.restarts.get(program.name, 0) + 1
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)

    def _give_up(self, program: Program, status: int) -> None:
        with contextlib.suppress(OSError):
            said = program.output.read_bytes()[-1500:].decode(errors="replace").strip().splitlines()[-1:]
            detail = f": {said[0]}" if said else ""
        if not self._failure().done():
            self._failure().set_exception(Transient(f"{program.name} ended with status {status}{detail}"))

    async def stop(self) -> None:
        """Stop all, the last started first."""
        for name in reversed(list(self._keepers)):
            keeper = self._keepers.pop(name)
            keeper.cancel()
            await asyncio.wait({keeper})


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), _GRACE)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
