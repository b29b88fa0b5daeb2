"""Running `magellon process` as a process of its own, to be disturbed; and looking at what is left."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

RUNNER = """
import sys, json
from pathlib import Path
from magellon.platform.process import ProcessOptions, process_session
from magellon.platform.server.policy import Policy
policy = Policy(beat_interval=0.3, lost_after=4, transient_delay=0.2, reconcile_interval=3)
options = ProcessOptions(home=Path(sys.argv[2]), recipe=Path(sys.argv[3]) if sys.argv[3] else None,
                         workers=2, settings=tuple(sys.argv[4:]), policy=policy)
print(process_session(Path(sys.argv[1]), options).model_dump_json())
"""


@dataclass
class Run:
    """One run of the foreground command."""

    session: Path
    home: Path
    recipe: Path | None = None
    settings: tuple[str, ...] = ()
    seen: dict[int, psutil.Process] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [sys.executable, "-c", RUNNER, str(self.session), str(self.home), str(self.recipe or ""), *self.settings]
        with open(self.home.parent / "run.log", "ab") as errors, open(self.home.parent / "run.out", "wb") as output:
            self._process = subprocess.Popen(argv, stdout=output, stderr=errors, stdin=subprocess.DEVNULL)

    @property
    def foreground(self) -> psutil.Process:
        assert self._process is not None
        return psutil.Process(self._process.pid)

    def look(self) -> list[psutil.Process]:
        """All processes of the run now; remembered, to be looked for afterwards."""
        try:
            family = [self.foreground, *self.foreground.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []
        self.seen.update({process.pid: process for process in family})
        return family

    def find(self, words: str) -> psutil.Process:
        """The process whose command line holds these words."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for process in self.look():
                try:
                    if words in " ".join(process.cmdline()) and process.pid != self.foreground.pid:
                        return process
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.02)
        raise AssertionError(f"no process {words!r}")

    def wait_until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            self.look()
            assert self._process is not None
            assert self._process.poll() is None, "the run ended early: " + (self.home.parent / "run.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "nothing happens: " + describe_home(self.home)
            time.sleep(0.02)

    def kill(self, words: str) -> None:
        self.find(words).send_signal(signal.SIGKILL)

    def kill_foreground(self) -> None:
        self.look()
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def interrupt(self) -> None:
        """As Ctrl-C does; nothing of the run may be left."""
        self.look()
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(timeout=30) != 0
        self.assert_nothing_left()

    def finish(self, seconds: float = 180) -> dict[str, object]:
        """Wait for the end; the summary. Nothing of the run may be left."""
        assert self._process is not None
        deadline = time.monotonic() + seconds
        while self._process.poll() is None:
            self.look()
            if time.monotonic() > deadline:
                self._process.kill()
                raise AssertionError("the run does not end: " + describe_home(self.home))
            time.sleep(0.05)
        output = (self.home.parent / "run.out").read_text()
        assert self._process.returncode == 0, (self.home.parent / "run.log").read_text()[-3000:]
        self.assert_nothing_left()
        return dict(json.loads(output.splitlines()[-1]))

    def assert_nothing_left(self) -> None:
        left = psutil.wait_procs(list(self.seen.values()), timeout=5)[1]
        left = [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
        assert not left, [process.cmdline() for process in left]
        marked = [p.pid for p in psutil.process_iter() if str(self.home) in " ".join(_command(p)) and p.pid != os.getpid()]
        assert not marked


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def describe_home(home: Path) -> str:
    logs = ""
    for name in ("server.log", "worker.log"):
        path = home / "state/logs" / name
        logs += f"\n== {name}\n{path.read_text(errors='replace')[-2500:]}" if path.exists() else ""
    return logs


def promoted(home: Path) -> set[str]:
    """Identities of the results there are."""
    return {path.parent.name for path in (home / "results").glob("??/*/result.json")}


def hash_tree(folder: Path) -> dict[str, str]:
    """Content of each file below a folder, links followed."""
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in _walk(folder)}


def _walk(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder, followlinks=True):
        for name in names:
            yield Path(root) / name


def hash_results(home: Path) -> dict[str, str]:
    """Everything promoted."""
    return {name: digest for name, digest in hash_tree(home / "results").items() if not name.startswith(".")}


def count_executions(diary: Path) -> Counter[str]:
    """How often each (step, movie) was begun."""
    lines = diary.read_text().splitlines() if diary.exists() else []
    return Counter(" ".join(line.split()[1:]) for line in lines)


def assert_no_debris(home: Path) -> None:
    """No half-written output, no folder of work, no broken link."""
    assert not list((home / "results/.work").rglob("*"))
    for path in (home / "sessions").rglob("*"):
        assert path.exists(), f"broken link {path}"
        assert not path.name.startswith("."), path
        if path.is_symlink() and path.parent.name != "movies":
            assert not os.path.isabs(os.readlink(path)), path
            assert (home / "results") in path.resolve().parents
            assert (path.resolve().parent / "result.json").exists()
