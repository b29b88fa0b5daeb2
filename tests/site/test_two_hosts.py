"""Server, PostgreSQL and NATS with TLS on one host, workers on another, a shared folder; the cable is pulled and put back."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from authority import Authority
from database import Cluster, find_programs
from engine import assert_no_debris, promoted
from hosts import Hosts, explain_absence
from processing import TASKS, assert_same, run
from servers import NatsServer, Place, make_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CUT = 14.0
"""Seconds: longer than the server waits for a silent worker, and than the bus's client for a silent server."""

COMPUTING = 0.8
"""Seconds for which a task computes: well longer than a worker waits before it says that it began one."""

SERVER = """
import asyncio, sys
from pathlib import Path
from processing import Watching, make_submission, process
from magellon.platform.bus.access import find_bus
from magellon.platform.launch.local import Site
from magellon.platform.store.home import Home
home, session, seconds, nats, ca, credentials, database = sys.argv[1:]
site = Site(bus=find_bus(nats, Path(ca), Path(credentials)), database=database)
submission = make_submission(Path(session), seconds=float(seconds))
summary = asyncio.run(process(Home.at(Path(home)), submission, site, Watching(), local=False))
print(summary.model_dump_json())
"""


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    absence = explain_absence()
    if absence:
        pytest.skip(absence)
    made = Hosts.create()
    yield made
    made.remove()


@pytest.fixture
def near_cluster(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    made = Cluster.create(programs, hosts.near_address, hosts.enter(hosts.near))
    try:
        made.start()
        monkeypatch.setenv("PGPASSFILE", str(made.password_file))
        yield made
    finally:
        made.remove()


@pytest.fixture
def near_bus(hosts: Hosts, authority: Authority, tmp_path: Path) -> Iterator[NatsServer]:
    (tmp_path / "nats").mkdir()
    (tmp_path / "token").write_text("a-long-token")
    (tmp_path / "token").chmod(0o600)
    place = Place(tmp_path / "nats", hosts.near_address, hosts.enter(hosts.near))
    server = make_server(place, authority, 'authorization { token: "a-long-token" }')
    server.start()
    yield server
    server.kill()


def start(argv: list[str], log: Path) -> "subprocess.Popen[bytes]":
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "e2e"), os.environ["PYTHONPATH"]]
    with log.open("ab") as errors, log.with_suffix(".out").open("wb") as output:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, env=environment)


def wait_for(home: Path, results: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 120
    while len(promoted(home)) < results:
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.05)


def wait_for_running(hosts: Hosts, cluster: Cluster, database: str, count: int) -> None:
    """Until the server knows of so many tasks that workers compute: who is between two tasks when it is cut off loses none."""
    deadline = time.monotonic() + 60
    with hosts.staying(hosts.near), cluster.connect(database) as ledger:
        while ledger.execute("SELECT count(*) FROM tasks WHERE state = 'running'").fetchone()[0] < count:
            assert time.monotonic() < deadline, f"never {count} tasks at once"
            time.sleep(0.01)


def test_workers_on_another_host_survive_a_cut(
    tmp_path: Path,
    session: Path,
    authority: Authority,
    hosts: Hosts,
    near_cluster: Cluster,
    near_bus: NatsServer,
    fake_backends: Path,
) -> None:
    alone = run(tmp_path / "alone", session, seconds=COMPUTING)
    home, elsewhere = tmp_path / "home", shutil.copytree(session, tmp_path / "mounted-elsewhere")
    place = [f"tls://{hosts.near_address}:{near_bus.port}", str(authority.file), str(tmp_path / "token")]
    python = [*hosts.enter(hosts.near), sys.executable, "-c", SERVER, str(home), str(session), str(COMPUTING)]
    database = near_cluster.make_database()
    server = start([*python, *place, database], tmp_path / "server.log")
    bus = ["--nats", place[0], "--nats-ca", place[1], "--nats-credentials", place[2]]
    far = [*hosts.enter(hosts.far), sys.executable, "-m", "magellon", "worker", "--home", str(home), *bus, "--grace", "20"]
    workers: list[subprocess.Popen[bytes]] = []
    try:
        while not (home / "home.json").exists():
            time.sleep(0.1)
        for number in range(2):
            words = [*far, "--slots", "1", "--name", f"far{number}", "--root", f"lot={elsewhere}"]
            workers.append(start(words, tmp_path / f"worker{number}.log"))
        wait_for(home, TASKS // 4, server, tmp_path / "server.log")
        wait_for_running(hosts, near_cluster, database.rpartition("/")[2], 2)
        hosts.set_cable(False)
        time.sleep(CUT)
        during = len(promoted(home))
        assert during < TASKS
        hosts.set_cable(True)
        wait_for(home, during + 4, server, tmp_path / "server.log")
        workers[0].send_signal(signal.SIGTERM)  # drains; the other one does the rest
        assert workers[0].wait(30) == 0
        assert server.wait(180) == 0, (tmp_path / "server.log").read_text()[-3000:]
    finally:
        for process in (*workers, server):
            process.terminate()
            process.wait(40)
    summary = json.loads((tmp_path / "server.out").read_text().splitlines()[-1])
    assert summary["ok"]
    assert not summary["failures"]
    assert_no_debris(home)
    assert_same(alone, home)
    assert "lost their worker" in (home / "state/logs/server.log").read_text(), "the cut was long enough to matter"
    assert "told to leave" in (tmp_path / "worker0.log").read_text()
