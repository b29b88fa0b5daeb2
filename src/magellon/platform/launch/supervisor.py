"""Keeps a set of processes running: what dies is started again with back-off; when the supervisor dies, all die with it."""

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from magellon.contracts.lifeline import die_with_parent
from magellon.errors import Transient
from magellon.platform.bus.launching import Condition, ProgramState

log = logging.getLogger("magellon.supervisor")

_SHORTEST_DELAY, _LONGEST_DELAY = 0.1, 5.0
_STEADY_AFTER = 10.0
"""Seconds of running after which the back-off starts anew."""
_GIVE_UP_AFTER = 12
"""Starts in a row without a steady run."""
_GRACE = 10.0
_TAIL = 1500


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
    vital: bool = True
    """Whether the whole ends when it cannot be kept running."""
    plugin: str = ""
    """Whose worker it is."""


@dataclass
class Supervisor:
    """Start programs in order, keep them, stop them in reverse order."""

    pids: dict[str, int] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    _programs: dict[str, Program] = field(default_factory=dict)
    _given_up: set[str] = field(default_factory=set)
    _reasons: dict[str, str] = field(default_factory=dict)
    _keepers: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)
    _failed: "asyncio.Future[None] | None" = None

    async def keep(self, program: Program) -> None:
        """Start a program and keep it running; one that was given up starts anew."""
        await self.drop(program.name)
        self._programs[program.name] = program
        started = asyncio.Event()
        self._keepers[program.name] = asyncio.create_task(self._keep(program, started))
        await started.wait()

    async def drop(self, name: str) -> None:
        """Stop a program and keep it no longer; nothing happens if there is none."""
        self._programs.pop(name, None)
        keeper = self._keepers.pop(name, None)
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait({keeper})
        self._given_up.discard(name)
        for facts in (self.restarts, self._reasons):
            facts.pop(name, None)

    def list_states(self) -> list[ProgramState]:
        """The programs in the order of their start."""
        return [self._describe(program) for program in self._programs.values()]

    def _describe(self, program: Program) -> ProgramState:
        name = program.name
        ended: Condition = "given up" if name in self._given_up else "waiting"
        return ProgramState(
            name=name,
            plugin=program.plugin,
            condition="running" if name in self.pids else ended,
            pid=self.pids.get(name),
            restarts=self.restarts.get(name, 0),
            reason=self._reasons.get(name, ""),
        )

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
            words = _read_last_words(program.output)
            self._reasons[program.name] = f"ended with status {status}{words}"
            if status in program.final_statuses or attempts >= _GIVE_UP_AFTER:
                self._give_up(program)
                return
            log.warning("%s ended with status %s and is started again%s", program.name, status, words)
            self.restarts[program.name] = self.restarts.get(program.name, 0) + 1
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)

    def _give_up(self, program: Program) -> None:
        self._given_up.add(program.name)
        reason = f"{program.name} {self._reasons[program.name]}"
        if not program.vital:
            log.error("%s; it is not started again", reason)
        elif not self._failure().done():
            self._failure().set_exception(Transient(reason))

    async def stop(self) -> None:
        """Stop all, the last started first."""
        for name in reversed(list(self._keepers)):
            keeper = self._keepers.pop(name)
            keeper.cancel()
            await asyncio.wait({keeper})


def _read_last_words(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - _TAIL, 0))
            said = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return f": {said[-1]}" if said else ""


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_GRACE):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
