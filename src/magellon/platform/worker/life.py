"""One computing process from its start to its end: what it was asked for, what it answers, why it ended."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from magellon.contracts.lifeline import die_with_parent
from magellon.platform.worker.requests import Displaced, Done, Listener, TaskFailure
from magellon.platform.worker.turns import Turns

_ALLOWANCE = 2 << 30
"""What an interpreter with its libraries takes beyond the task's own memory, before the process is killed for it."""
_WATCH_INTERVAL = 1.0
_LONGEST_LINE = 64 << 20
_LAST_WORDS = 2.0
"""Seconds from the end of a process until all it said is heard, and the other way round."""


@dataclass
class _Asked:
    """What the process was asked for, and who waits for the answer."""

    number: int
    memory: int
    listen: Listener
    answer: "asyncio.Future[Done]"

    def fail(self, error: Exception) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class _Replies(asyncio.Protocol):
    """Cuts what the process says into lines."""

    def __init__(self, life: "Life") -> None:
        self._life = life
        self._parts: list[bytes] = []
        self._size = 0

    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if b"\n" in data:
            *lines, rest = b"".join(self._parts).split(b"\n")
            self._parts, self._size = [rest], len(rest)
            for line in lines:
                self._life.hear(line)
        elif self._size > _LONGEST_LINE:
            self._life.condemn(f"said more than {_LONGEST_LINE >> 20} MiB at once")
            self._parts, self._size = [], 0

    def connection_lost(self, error: Exception | None) -> None:
        self._life.note_silence()


@dataclass
class Life:
    """It works at one task at a time; others may wait in it for their turn."""

    process: asyncio.subprocess.Process
    ready: "asyncio.Future[bool]"
    """Its first word; False when it ended before."""
    _turns: Turns
    _silent: "asyncio.Future[None]"
    """All it said has been heard."""
    _pipe: asyncio.BaseTransport | None = None
    _asked: dict[int, _Asked] = field(default_factory=dict)
    """By number, in their order: the first is at work."""
    _number: int = 0
    _began: float = 0.0
    """When the first became the first, by the monotonic clock."""
    _ending: "asyncio.Task[None] | None" = None
    _unwanted: bool = False
    """It is killed for no fault of a task."""
    _condemned: str | None = None
    """Why it is killed for the fault of the task at work."""
    _watch: asyncio.TimerHandle | None = None
    _watched: int = 0
    """The task that was at work when its memory was last thought of."""

    @classmethod
    async def begin(cls, command: Sequence[str], environment: Mapping[str, str], output_file: Path | None) -> "Life":
        """Start a process that speaks as `magellon.backends.child` does.

        Raises:
            OSError: it cannot be started.
        """
        loop = asyncio.get_running_loop()
        output = open(output_file or os.devnull, "ab")  # noqa: SIM115
        read_end, write_end = os.pipe()
        turns = Turns()
        try:
            process = await asyncio.create_subprocess_exec(
                *command, "--reply", str(write_end), "--turns", str(turns.descriptor),
                stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output,
                pass_fds=(write_end, turns.descriptor), env=environment, start_new_session=True,
                preexec_fn=die_with_parent(),
            )  # fmt: skip
        except BaseException:
            os.close(read_end)
            turns.close()
            raise
        finally:
            os.close(write_end)
            output.close()
        life = cls(process, loop.create_future(), turns, loop.create_future())
        try:
            life._pipe, _ = await loop.connect_read_pipe(lambda: _Replies(life), os.fdopen(read_end, "rb", buffering=0))
        except BaseException:
            life._kill()
            life._let_go()
            raise
        return life

    @property
    def is_over(self) -> bool:
        """Or about to be."""
        return self._unwanted or self._condemned is not None or self._silent.done() or self.process.returncode is not None

    @property
    def seconds_at_work(self) -> float:
        """At the task it is at; 0 when there is none."""
        return time.monotonic() - self._began if self._asked else 0.0

    async def ask(self, request: Mapping[str, Any], memory: int, listen: Listener) -> Done:
        """Have a task done, after those that were asked for before. When this is cancelled the process is killed with all
        it started, unless the task had not begun.

        Raises:
            TaskFailure: with the kind of the failure.
            Displaced: another task ended the process, or `put_off_waiting` was called.
        """
        asked = self._write(request, memory, listen)
        try:
            return await asked.answer
        except TaskFailure as failure:
            if failure.crashed:
                await self.end()
            raise
        except asyncio.CancelledError:
            if not self._take_back(asked.number):
                await self.end()
            raise

    def put_off_waiting(self) -> None:
        """Displace all that has not begun."""
        if self._asked:  # else it may be over, its turns closed
            for number in self._turns.take_back():
                self._asked.pop(number).fail(Displaced())

    async def end(self) -> None:
        """Kill the process, if it runs, with everything it started. What it has not answered is displaced."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)

    def condemn(self, why: str) -> None:
        """Kill it for what the task at work does."""
        self._condemned = why
        self._kill()

    async def tell_end(self) -> str:
        """Wait until it has ended; how it did."""
        status = await self.process.wait()
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def _write(self, request: Mapping[str, Any], memory: int, listen: Listener) -> _Asked:
        assert self.process.stdin is not None
        self._number += 1
        asked = _Asked(self._number, memory, listen, asyncio.get_running_loop().create_future())
        if self.is_over:
            asked.fail(Displaced())
            return asked
        if not self._asked:
            self._began = time.monotonic()
        self._asked[asked.number] = asked
        self.process.stdin.write(json.dumps({"do": "run", "number": asked.number, **request}).encode() + b"\n")
        self._turns.give(asked.number)
        if self._watch is None:
            self._watch_memory()
        return asked

    def _take_back(self, number: int) -> bool:
        """Whether the process will not work at this task any more, or never did."""
        if number not in self._asked:
            return True
        waiting = self._turns.take_back()
        for other in waiting:
            if other != number:
                self._turns.give(other)
        if number in waiting:
            del self._asked[number]
        return number in waiting

    def hear(self, line: bytes) -> None:
        """What it says of the task at work, or that it is ready."""
        reply = json.loads(line)
        event = reply["event"]
        if event == "ready":
            if not self.ready.done():  # whoever waited for it may have been cancelled
                self.ready.set_result(True)
            return
        asked = next(iter(self._asked.values()))
        if event not in ("done", "failed"):
            asked.listen(event, reply.get("fraction", 0.0), reply.get("message") or reply.get("line") or "")
            return
        del self._asked[asked.number]
        self._began = time.monotonic()
        if event == "failed":
            crashed = reply.get("spent", False)
            asked.fail(TaskFailure(reply["kind"], reply["message"], reply["traceback"], crashed=crashed))
        elif not asked.answer.done():
            asked.answer.set_result(Done(reply["output"], reply["device"], reply["seconds"]))

    def note_silence(self) -> None:
        """There is nothing more to hear."""
        if not self.ready.done():
            self.ready.set_result(False)
        self._silent.set_result(None)
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())

    async def _end(self) -> None:
        if not self.is_over:
            self._unwanted = True
            self._kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self.process.wait()
                await asyncio.shield(self._silent)  # unless what left its group holds the pipe open
        self._kill()  # what it left behind, and itself if it only fell silent
        how = f"the computing process {await self.tell_end()}"
        left = list(self._asked.values())
        self._asked.clear()
        if left and not self._unwanted:
            left.pop(0).fail(TaskFailure("defect", self._condemned or how, crashed=True))
        for asked in left:
            asked.fail(Displaced())
        self._let_go()

    def _let_go(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        if self.process.stdin is not None:
            self.process.stdin.close()
        if self._pipe is not None:
            self._pipe.close()
        self._turns.close()

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # external programs share its group

    def _watch_memory(self) -> None:
        """Look now and then, but not at all at a task that takes no time."""
        self._watch = None
        asked = next(iter(self._asked.values()), None)
        if asked is None:
            return
        if asked.number == self._watched:
            used, limit = measure_memory(self.process.pid), asked.memory + _ALLOWANCE
            if used > limit:
                self.condemn(f"took {used / 2**30:.1f} GiB of memory, the limit is {limit / 2**30:.1f} GiB")
        self._watched = asked.number
        self._watch = asyncio.get_running_loop().call_later(_WATCH_INTERVAL, self._watch_memory)


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
