"""Running `magellon up` as a process of its own, and asking it over HTTP."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2


@dataclass
class Web:
    """A running server."""

    url: str
    token: str
    home: Path
    process: "subprocess.Popen[bytes]"
    client: httpx2.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx2.Client(
            base_url=f"{self.url}/api/v1", headers={"Authorization": f"Bearer {self.token}"}, timeout=120, trust_env=False
        )

    def get(self, path: str, **params: Any) -> Any:
        answer = self.client.get(path, params=params)
        assert answer.status_code == 200, f"{path}: {answer.text}"
        return answer.json()

    def post(self, path: str, body: Any = None) -> Any:
        answer = self.client.post(path, json=body)
        assert answer.status_code in (200, 201), f"{path}: {answer.text}"
        return answer.json()

    def wait(self, path: str, until: Callable[[Any], bool], seconds: float = 240) -> Any:
        """Ask until the answer is right."""
        deadline = time.monotonic() + seconds
        while not until(answer := self.get(path)):
            assert time.monotonic() < deadline, f"{path}: {answer}"
            time.sleep(0.2)
        return answer


@contextmanager
def run_server(home: Path, *arguments: str) -> Iterator[Web]:
    """`magellon up` on a free port, stopped at the end."""
    argv = [sys.executable, "-m", "magellon", "up", "--home", str(home), "--port", "0", *arguments]
    output = home.parent / f"{home.name}.up.log"
    with output.open("ab") as file:
        process = subprocess.Popen(
            argv, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    try:
        address = home / "state/server.json"
        deadline = time.monotonic() + 60
        while not address.exists():
            assert process.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        web = Web(json.loads(address.read_text())["url"], (home / "state/token").read_text().strip(), home, process)
        with web.client:
            yield web
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@dataclass
class Listener:
    """Follows the live stream in a thread; comes back with the last number when the connection ends."""

    web: Web
    after: int = 0
    seen: list[dict[str, Any]] = field(default_factory=list)
    progress: list[dict[str, Any]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _cut: bool = False

    def start(self) -> None:
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """At the next line, which a heartbeat is as well."""
        self._stop.set()
        assert self._thread is not None
        self._thread.join(30)

    def _follow(self) -> None:
        with contextlib.suppress(httpx2.HTTPError):  # the server was stopped
            while not self._stop.is_set():
                headers = {"Last-Event-ID": str(self.after)}
                with self.web.client.stream("GET", "/events", headers=headers) as answer:
                    assert answer.status_code == 200
                    self._read(answer.iter_lines())

    def _read(self, lines: Iterator[str]) -> None:
        for line in lines:
            if line.startswith("data: "):
                self._note(json.loads(line[6:]))
            if self._stop.is_set():
                return
            if len(self.seen) == 3 and not self._cut:
                self._cut = True
                return  # a connection that is lost

    def _note(self, data: dict[str, Any]) -> None:
        if "id" in data:
            self.seen.append(data)
            self.after = data["id"]
        else:
            self.progress.append(data)
