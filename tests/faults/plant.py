"""Bus, server and two workers as processes that can be hurt one by one; whatever ends is started again at once."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from database import Cluster
from disks import SmallDisk
from faketime import clear_up, prepare
from hosts import Hosts
from nats.aio.msg import Msg
from sqlalchemy import Connection, select

from magellon.contracts.lifeline import die_with_parent
from magellon.platform.bus.configuration import BusAddress, find_nats_server, write_configuration
from magellon.platform.bus.connection import BUS_ERRORS, connect_bus
from magellon.platform.pipeline.recipe import change_recipe, read_recipe
from magellon.platform.process import ask_server
from magellon.platform.server.policy import Policy
from magellon.platform.server.report import Progress
from magellon.platform.server.submitting import Submission
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger, LedgerAway
from magellon.platform.store.schema import events, results, tasks

WORKERS = ("w1", "w2")
# Faults are no fault of the tasks: none is given up, however often it is hit.
POLICY = Policy(
    beat_interval=0.3,
    lost_after=2.5,
    forgotten_after=2,
    reconcile_interval=1.5,
    transient_delay=0.1,
    longest_delay=0.5,
    transient_attempts=1000,
    defect_attempts=1000,
    lost_attempts=1000,
)


@dataclass
class Plant:
    """One home with all that works in it."""

    session: Path
    home: Home
    recipe: Path
    cluster: Cluster | None = None
    """PostgreSQL for the ledger, instead of a file."""
    hosts: Hosts | None = None
    """The second worker is on the far one, all the rest on the near one."""
    disk: SmallDisk | None = None
    """Of the results."""
    restarts: Counter[str] = field(default_factory=Counter)
    _running: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)
    _address: BusAddress | None = None
    _database: str | None = None

    @property
    def address(self) -> BusAddress:
        assert self._address is not None
        return self._address

    @property
    def faults(self) -> Path:
        """Orders for the fake backends."""
        return self.home.root.parent / "faults"

    @property
    def clock(self) -> Path:
        """How wrong the clock of all is."""
        return self.faults / "clock"

    def start(self) -> None:
        self.home.prepare()
        self.faults.mkdir(exist_ok=True)
        self._address = write_configuration(self.home.bus_configuration)
        if self.cluster is not None:
            self._database = self.cluster.make_database()
        if self.hosts is not None:
            self._open_bus()
        self.tend()

    def _open_bus(self) -> None:
        """To the far host, too."""
        configuration = self.home.bus_configuration
        configuration.write_text(configuration.read_text().replace('host: "127.0.0.1"', 'host: "0.0.0.0"'))
        token = self.home.root.parent / "token"
        token.write_text(self.address.token or "")
        token.chmod(0o600)

    def tend(self) -> None:
        """Start what does not run."""
        for name, argv in self._programs().items():
            process = self._running.get(name)
            if process is None or process.poll() is not None:
                if process is not None:
                    clear_up(process.pid)
                    self.restarts[name] += 1
                with open(self.home.root.parent / f"{name}.log", "ab") as log:
                    self._running[name] = subprocess.Popen(
                        argv,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        env=self._environment(name),
                        start_new_session=True,
                        preexec_fn=die_with_parent(),  # noqa: PLW1509
                    )

    def _programs(self) -> dict[str, list[str]]:
        place = ["--home", str(self.home.root)]
        python = [sys.executable, "-m"]
        worker = [*python, "magellon.platform.worker", *place, "--slots", "2", "--beat", "0.3", "--name"]
        database = ["--database", self._database] if self._database else []
        near, far = WORKERS
        return {
            "bus": [str(find_nats_server()), "-c", str(self.home.bus_configuration)],
            "server": [*python, "magellon.platform.server", *place, "--policy", POLICY.model_dump_json(), *database],
            near: [*worker, near],
            far: [*self._enter_far(), *worker, far, *self._find_bus()],
        }

    def _enter_far(self) -> tuple[str, ...]:
        return self.hosts.enter(self.hosts.far) if self.hosts else ()

    def _find_bus(self) -> list[str]:
        if self.hosts is None:
            return []
        port = self.address.url.rpartition(":")[2]
        url = f"nats://{self.hosts.near_address}:{port}"
        return ["--nats", url, "--nats-credentials", str(self.home.root.parent / "token")]

    def _environment(self, name: str) -> dict[str, str]:
        """The bus is a static program, which reads the clock past every library: its clock stays right."""
        moved = {} if name == "bus" else prepare(self.clock)
        return {**os.environ, **moved, "FAKE_FAULTS": str(self.faults)}

    def process(self, name: str) -> psutil.Process | None:
        process = self._running[name]
        return psutil.Process(process.pid) if process.poll() is None else None

    def kill(self, name: str) -> bool:
        process = self._running[name]
        if process.poll() is not None:
            return False
        process.kill()
        process.wait()
        return True

    def find_child(self, name: str) -> psutil.Process | None:
        """A computing process of a worker."""
        process = self.process(name)
        children = process.children() if process else []
        return next((child for child in children if "magellon.backends.child" in " ".join(_command(child))), None)

    def stop(self) -> None:
        """Workers first, each with the time to clear up; nothing may be left."""
        for name in (*WORKERS, "server", "bus"):
            process = self._running.get(name)
            if process is None:
                continue
            clear_up(process.pid)
            if process.poll() is not None:
                continue
            process.send_signal(signal.SIGCONT)
            if not self._end(process):
                process.kill()
                process.wait()
                raise AssertionError(f"{name} does not end: {self.read_log(name)}")

    @staticmethod
    def _end(process: "subprocess.Popen[bytes]") -> bool:
        """SIGTERM, once: whoever misses it is at fault."""
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(25)
            return True
        return False

    def read_log(self, name: str) -> str:
        with contextlib.suppress(OSError):
            return (self.home.root.parent / f"{name}.log").read_text(errors="replace")[-3000:]
        return ""

    def submit(self, salt: int) -> int:
        """Ask for the whole session with a parameter of the first step, so that all is done anew; the job's number."""
        recipe = change_recipe(read_recipe(self.recipe), [f"motion_correction.salt={salt}"])
        submission = Submission(folder=str(self.session), recipe=recipe, request=f"salt {salt}")

        async def ask() -> int:
            client = await connect_bus(self.address, "tester")
            try:
                return int(await ask_server(client, "api.submit", submission.model_dump_json().encode()))
            finally:
                await client.close()

        while True:
            self.tend()
            with contextlib.suppress(*BUS_ERRORS, TimeoutError):
                return asyncio.run(asyncio.wait_for(ask(), 20))

    @contextlib.contextmanager
    def _reading(self) -> Iterator[Connection]:
        ledger = Ledger(self._database) if self._database else Ledger.at(self.home.ledger)
        try:
            with ledger.reading() as connection:
                yield connection
        finally:
            ledger.close()

    def count(self) -> Counter[str]:
        """Tasks by state, as the ledger has them; nothing while it cannot be asked."""
        with contextlib.suppress(LedgerAway), self._reading() as connection:
            return Counter(connection.execute(select(tasks.c.state)).scalars())
        return Counter()

    def list_results(self) -> dict[str, str]:
        """By label of the task: the identity whose result is completed and known to the ledger."""
        query = select(tasks.c.id, tasks.c.identity).join(results, results.c.identity == tasks.c.identity)
        with self._reading() as connection:
            return {str(row.id): row.identity for row in connection.execute(query.where(tasks.c.state == "completed"))}

    @property
    def _diary(self) -> Path:
        """Where the fake backends write what they begin."""
        return Path(os.environ["FAKE_DIARY"])

    def await_work(self, patience: float = 4.0) -> bool:
        """Until something is computed, whatever has to be started for it; False if that takes too long."""
        begun, deadline = self._diary.stat().st_size if self._diary.exists() else 0, time.monotonic() + patience
        while time.monotonic() < deadline:
            if self._diary.exists() and self._diary.stat().st_size > begun:
                return True
            self.tend()
            time.sleep(0.02)
        return False

    def await_wrong_time(self, seconds: float, patience: float = 4.0) -> bool:
        """Until something is computed by a clock that is wrong by more than so much; False if that takes too long."""
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0 and self.await_work(left):
            begun = float(self._diary.read_text().rpartition("\n")[0].splitlines()[-1].split()[0])
            if abs(begun - time.time()) > seconds:
                return True
        return False

    def list_times(self) -> list[float]:
        """When what happened, by the clocks of the computing processes and of the server."""
        noted = [float(line.split()[0]) for line in self._diary.read_text().splitlines()]
        with self._reading() as connection:
            return noted + list(connection.execute(select(events.c.at)).scalars())

    def await_end(self, number: int, seconds: float = 120) -> None:
        """Until so many tasks are completed and the server says that the links are made."""
        deadline = time.monotonic() + seconds
        while self.count() != {"completed": number}:
            self.tend()
            if time.monotonic() > deadline:
                logs = "\n".join(f"== {name}\n{self.read_log(name)}" for name in ("server", *WORKERS))
                raise AssertionError(f"not all completed: {self.count()}\n{logs}")
            time.sleep(0.1)
        while not self._hear_settled():
            self.tend()
            assert time.monotonic() < deadline, f"the server does not say that all is done:\n{self.read_log('server')}"

    def _hear_settled(self, patience: float = 5.0) -> bool:
        """Whether the server says within that time that a job is done and its folder right, as it does every second."""

        async def hear() -> bool:
            said = asyncio.Event()

            async def note(message: Msg) -> None:
                if Progress.model_validate_json(message.data).settled:
                    said.set()

            client = await connect_bus(self.address, "tester")
            try:
                await client.subscribe("progress.*", cb=note)
                await asyncio.wait_for(said.wait(), patience)
            finally:
                await client.close()
            return True

        with contextlib.suppress(*BUS_ERRORS, TimeoutError):
            return asyncio.run(hear())
        return False


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []
