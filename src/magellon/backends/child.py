"""`python -m magellon.backends.child`: a long-lived process that runs one task after another for its parent.

It reads requests as JSON lines on standard input and answers as JSON lines on a pipe of its own (`--reply FD`), which what
native libraries print cannot reach. Requests come ahead of time: it begins one when it has read the request's number from a
socket (`--turns FD`), and leaves out those whose number the parent took back from there. It stays warm: modules and loaded
models serve the next task too. It keeps no state, promotes nothing and speaks to no bus; the parent does.
"""

import contextlib
import errno
import json
import logging
import os
import random
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from pydantic import ValidationError

from magellon.backends.registry import load_backend
from magellon.contracts import Backend, Context, Contract, Record
from magellon.contracts.record import find_places, map_plain_paths
from magellon.errors import BadInput, Cancelled, Transient

_TRANSIENT_ERRNOS = {
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
}  # fmt: skip
_REPORT_INTERVAL = 0.2


class Say(Protocol):
    """Send one line to the parent."""

    def __call__(self, event: str, **fields: object) -> None: ...


class Voice:
    """Progress and log lines on their way to the parent: at most a few a second; all log lines go to the log file."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._last = {"progress": 0.0, "log": 0.0}

    def _due(self, event: str) -> bool:
        now = time.monotonic()
        due = now - self._last[event] >= _REPORT_INTERVAL
        if due:
            self._last[event] = now
        return due

    def report(self, fraction: float, message: str) -> None:
        if self._due("progress"):
            self._say("progress", fraction=min(max(float(fraction), 0.0), 1.0), message=message)

    def log(self, line: str) -> None:
        if self._due("log"):
            self._say("log", line=line[:2000])


_FILE_FORMAT = logging.Formatter("%(asctime)s %(levelname)s %(message)s")


class _Lines(logging.Handler):
    """Log lines of the task at work, to the parent and to the task's file, which is not there before its first line."""

    def __init__(self) -> None:
        super().__init__()
        self._voice: Voice | None = None
        self._path: str | None = None
        self._file: logging.FileHandler | None = None

    def begin(self, path: str | None, voice: Voice) -> None:
        """From now on the lines belong to this task."""
        self._path, self._voice = path, voice

    def emit(self, record: logging.LogRecord) -> None:
        if self._voice is not None:
            self._voice.log(self.format(record))
        with contextlib.suppress(OSError):  # a full disk may cost log lines, not the task
            if self._path and self._file is None:
                os.makedirs(os.path.dirname(self._path) or ".", exist_ok=True)
                self._file = logging.FileHandler(self._path)
                self._file.setFormatter(_FILE_FORMAT)
            if self._file is not None:
                self._file.emit(record)

    def end(self) -> None:
        file, self._file, self._path, self._voice = self._file, None, None, None
        if file is not None:
            file.close()


_LINES = _Lines()


@contextmanager
def _logger(path: str | None, voice: Voice) -> Iterator[logging.Logger]:
    logger = logging.getLogger("magellon.backend")
    if _LINES not in logger.handlers:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(_LINES)
    _LINES.begin(path, voice)
    try:
        yield logger
    finally:
        _LINES.end()


def failure_kind(error: BaseException) -> str:
    """What the platform does next depends on this word only."""
    if isinstance(error, BadInput):
        return "bad_input"
    if isinstance(error, Cancelled):
        return "cancelled"
    if isinstance(error, Transient) or (isinstance(error, OSError) and error.errno in _TRANSIENT_ERRNOS):
        return "transient"
    return "defect"


def validate(record: type[Record], value: object, what: str) -> Any:
    """A record from plain data.

    Raises:
        BadInput: each field that is wrong, with its value and why.
    """
    try:
        return record.model_validate(value)
    except ValidationError as error:
        problems = [f"{what} {'.'.join(map(str, e['loc']))} = {e['input']!r}: {e['msg']}" for e in error.errors()]
        raise BadInput("; ".join(problem[:500] for problem in problems[:5])) from error


def check_files(record: type[Record], value: object) -> None:
    """Raises Transient for a file that plain data of a record name and that is not there."""

    def check(path: str) -> str:
        if not os.path.exists(path):
            raise Transient(f"{path} is not there")
        return path

    map_plain_paths(record, value, check)


def check_output(contract: Contract[Any, Any], output: object, workdir: Path) -> dict[str, Any]:
    """The output as plain data, its paths relative to the working folder.

    Raises:
        TypeError: not the contract's output record.
        ValueError: it holds NaN or infinity, or names a file that is missing or lies outside of the working folder.
    """
    if not isinstance(output, contract.Output):
        raise TypeError(f"the backend returned {type(output).__name__}, the contract asks for {contract.Output.__name__}")
    folder = f"{workdir}/"

    def inside(path: str) -> str:
        whole = path if path.startswith("/") else folder + path
        if not os.path.exists(whole):
            raise ValueError(f"the output names {path}, which the backend has not written")
        relative = whole.removeprefix(folder)
        if relative.startswith("/") or ".." in relative.split("/"):
            raise ValueError(f"the output names {path}, which lies outside of the working folder")
        return relative

    checked = contract.Output.model_validate(output.model_dump()).model_dump(mode="json")
    mapped: dict[str, Any] = map_plain_paths(contract.Output, checked, inside)
    return mapped


def fix_numerics(threads: int, seed: int) -> None:
    """The same bytes from the same task: fixed threads and order of sums, a seed for those who forget to take the task's."""
    random.seed(seed)
    numpy: Any = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(seed % 2**32)
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True)
        torch.manual_seed(seed)


def choose_device(wanted: str) -> str:
    """`auto` is the GPU if the backend brought torch and torch finds one.

    Raises:
        Transient: a GPU is wanted that is not here; another machine may have it.
    """
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return "cpu" if wanted == "auto" else wanted
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return "cuda" if found else "cpu"
    number = int(wanted.partition(":")[2] or 0)
    if wanted.startswith("cuda") and number >= found:
        seen = f"torch finds {found} here, counted from 0" if found else "torch finds none here (`magellon doctor` says why)"
        raise Transient(f"device {wanted}: there is no such GPU: {seen}; `auto` and `cpu` work without")
    return wanted


class Runner:
    """Runs tasks; keeps loaded backends for the next ones."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._classes: dict[tuple[str, str], type[Backend[Any, Any, Any]]] = {}
        self._loaded: dict[tuple[str, str, str], Backend[Any, Any, Any]] = {}

    def _backend(self, category: str, name: str, wanted_device: str) -> tuple[Backend[Any, Any, Any], str]:
        cls = self._classes.get((category, name)) or load_backend(category, name)
        self._classes[category, name] = cls
        device = choose_device(wanted_device)
        key = (category, name, device)
        if key not in self._loaded:
            backend = cls()
            backend.load(device)
            self._loaded[key] = backend
        return self._loaded[key], device

    def run(self, request: Mapping[str, Any]) -> None:
        """Run one task and say how it ended. Whatever a backend raises ends here."""
        started = time.monotonic()
        voice = Voice(self._say)
        try:
            with _logger(request.get("log"), voice) as log:
                output, device = self._compute(request, voice, log)
            seconds = round(time.monotonic() - started, 3)
            self._say("done", output=output, device=device, seconds=seconds)
        except Exception as error:  # noqa: BLE001 - the worker's edge
            message = str(error) or type(error).__name__
            kind = failure_kind(error)
            if kind == "defect":
                message = f"{type(error).__name__}: {message}"
            spent = isinstance(error, MemoryError)  # what it holds is lost until it ends
            self._say("failed", kind=kind, message=message[:4000], traceback=traceback.format_exc()[-20000:], spent=spent)

    def _compute(self, request: Mapping[str, Any], voice: Voice, log: logging.Logger) -> tuple[dict[str, Any], str]:
        backend, device = self._backend(request["category"], request["backend"], request.get("device", "auto"))
        wanted = request.get("version")
        if wanted is not None and wanted != backend.version:
            raise Transient(f"this worker has version {backend.version} of {backend.name}, the task asks for {wanted}")
        params = validate(backend.Params, request.get("params", {}), "parameter")
        task_input = validate(backend.contract.Input, request["input"], "input")
        check_files(backend.contract.Input, request["input"])
        if find_places(backend.Params) is not None:
            check_files(backend.Params, params.model_dump(mode="json"))
        workdir = Path(request["workdir"])
        if not os.path.isdir(workdir):
            workdir.mkdir(exist_ok=True)  # no deeper: a disk that went away is not to be made up for
        threads, seed = int(request.get("threads", 1)), int(request.get("seed", 0))
        fix_numerics(threads, seed)
        context = Context(
            workdir=workdir,
            device=device,
            threads=threads,
            memory=int(request.get("memory", 4 << 30)),
            seed=seed,
            log=log,
            report=voice.report,
        )
        return check_output(backend.contract, backend.run(task_input, params, context), workdir), device


def read_turns(turns: socket.socket) -> Iterator[int]:
    """Numbers of requests that may begin, until the parent closes its end."""
    while word := turns.recv(8):
        yield int.from_bytes(word)


def serve(requests: IO[str], turns: Iterable[int], reply: IO[str]) -> None:
    """Answer the requests whose turn comes, until there are no more."""

    def say(event: str, **fields: object) -> None:
        reply.write(json.dumps({"event": event, **fields}) + "\n")
        reply.flush()

    runner = Runner(say)
    actions: dict[str, Callable[[Mapping[str, Any]], None]] = {"run": runner.run}
    say("ready")
    for turn in turns:
        for line in requests:
            request = json.loads(line)
            if request["number"] == turn:
                actions[request["do"]](request)
                break


def main(reply_fd: int, turns_fd: int) -> None:
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # a backend that reads standard input must not eat requests
    logging.raiseExceptions = False  # a full disk may cost log lines, not the task
    with requests, socket.socket(fileno=turns_fd) as turns, os.fdopen(reply_fd, "w", encoding="utf-8") as reply:
        serve(requests, read_turns(turns), reply)


if __name__ == "__main__":
    main(*(int(sys.argv[sys.argv.index(name) + 1]) for name in ("--reply", "--turns")))
