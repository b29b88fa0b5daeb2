"""The parent's side of a warm child process: start it, give it one task at a time, kill it with everything it started.

Used by the worker and, without any bus, by `magellon run`:

    async with Child() as child:
        done = await child.run(Request("fft", "fft", params={}, input=..., workdir=...))
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from magellon.contracts.lifeline import die_with_parent
from magellon.errors import BadInput

Listener = Callable[[str, float, str], None]
"""Called with ("progress", fraction, message) or ("log", 0, line) while a task runs."""

_LINE_LIMIT = 64 << 20
_ALLOWANCE = 2 << 30
"""What an interpreter with its libraries takes beyond the task's own memory, before the child is killed for it."""
_WATCH_INTERVAL = 1.0
_TAIL = 2000


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
    _process: asyncio.subprocess.Process | None = None
    _replies: asyncio.StreamReader | None = None
    _pipe: asyncio.ReadTransport | None = None
    _too_large: str | None = None
    _watch: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Start the process if it does not run. Warm-up before the first task is optional."""
        if self._process is not None and self._process.returncode is None:
            return
        await self.close()
        read_end, write_end = os.pipe()
        output = open(self.output_file, "ab") if self.output_file else open(os.devnull, "ab")  # noqa: SIM115
        try:
            self._process = await asyncio.create_subprocess_exec(
                self.python, "-m", "magellon.backends.child", "--reply", str(write_end),
                stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output,
                pass_fds=(write_end,), env=self._environment(), start_new_session=True,
                preexec_fn=die_with_parent(),
            )  # fmt: skip
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
            output.close()
        self._replies = asyncio.StreamReader(limit=_LINE_LIMIT)
        protocol = asyncio.StreamReaderProtocol(self._replies)
        loop = asyncio.get_running_loop()
        self._pipe, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(read_end, "rb", buffering=0))

    async def wait_until_ready(self) -> None:
        """Start the process and hear its first word.

        Raises:
            BadInput: it does not come up; with the end of what it said.
        """
        try:
            await self.start()
        except OSError as error:
            raise BadInput(f"{self.python} cannot be started: {error}") from error
        assert self._replies is not None
        if not await self._replies.readline():
            ended = await self._how_it_ended()
            raise BadInput(f"{self.python}: the computing process {ended}: {self._read_last_line()}")

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
        """Run one task. Cancelling this coroutine kills the child and all it started.

        Raises:
            TaskFailure: with the kind of the failure.
        """
        try:
            await self.start()
            return await self._converse(request, listen or (lambda kind, fraction, message: None))
        except TaskFailure as failure:
            if failure.crashed:
                await self.close()
            raise
        except BaseException:
            await self.close()
            raise

    async def _converse(self, request: Request, listen: Listener) -> Done:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._replies is not None
        self._too_large = None
        self._watch = None
        self._watch_memory(request.memory + _ALLOWANCE)
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a dead child shows as an end of file below
                self._process.stdin.write(json.dumps({"do": "run", **vars(request)}).encode() + b"\n")
                await self._process.stdin.drain()
            while line := await self._replies.readline():
                reply = json.loads(line)
                if reply["event"] == "done":
                    return Done(reply["output"], reply["device"], reply["seconds"])
                if reply["event"] == "failed":
                    raise TaskFailure(reply["kind"], reply["message"], reply["traceback"], crashed=reply.get("spent", False))
                listen(reply["event"], reply.get("fraction", 0.0), reply.get("message") or reply.get("line") or "")
        finally:
            if self._watch is not None:
                self._watch.cancel()
        raise TaskFailure("defect", self._too_large or f"the computing process {await self._how_it_ended()}", crashed=True)

    async def _how_it_ended(self) -> str:
        assert self._process is not None
        status = await self._process.wait()
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def _watch_memory(self, limit: int) -> None:
        """Look now and then, but not at all at a task that takes no time."""
        if self._process is None:
            return
        used = measure_memory(self._process.pid) if self._watch else 0
        if used > limit:
            self._too_large = f"took {used / 2**30:.1f} GiB of memory, the limit is {limit / 2**30:.1f} GiB"
            self._kill()
        self._watch = asyncio.get_running_loop().call_later(_WATCH_INTERVAL, self._watch_memory, limit)

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # external programs share its group

    async def close(self) -> None:
        """Kill the process, if it runs, with everything it started."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if process.stdin is not None:
                process.stdin.close()
            await process.wait()
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None


def measure_memory(pid: int) -> int:
    """Resident bytes of a process and all its descendants; 0 when it is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += member.memory_info().rss
    return total
