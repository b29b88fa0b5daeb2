"""A private PostgreSQL cluster in a temporary folder, run by the user postgres where the tests run as root."""

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magellon.platform.bus.configuration import find_free_port

USER = "magellon"


def find_programs() -> Path | None:
    """Folder of PostgreSQL's programs; Debian keeps them off the PATH."""
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    on_path = shutil.which("initdb")
    if on_path:
        found.append(Path(on_path).resolve().parent)
    return max(found, default=None)


@dataclass
class Cluster:
    programs: Path
    folder: Path
    port: int
    host: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()
    """What every program is started through, such as `ip netns exec NAME`."""
    _number: int = field(default=0)

    @classmethod
    def create(cls, programs: Path, host: str = "127.0.0.1", prefix: tuple[str, ...] = ()) -> "Cluster":
        folder = Path(tempfile.mkdtemp(prefix="magellon-postgresql-"))
        cluster = cls(programs, folder, find_free_port(), host, prefix)
        password = secrets.token_hex(16)
        (folder / "password").write_text(password)
        cluster.password_file.write_text(f"*:*:*:{USER}:{password}\n")
        cluster.password_file.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
            shutil.chown(folder / "password", "postgres")
        options = ["-A", "scram-sha-256", f"--pwfile={folder / 'password'}", "-U", USER, "-E", "UTF8", "--locale=C", "-N"]
        cluster._run("initdb", "-D", str(cluster.data), *options)
        with (cluster.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.0.0.0/8 scram-sha-256\n")
        return cluster

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def password_file(self) -> Path:
        return self.folder / "pgpass"

    @property
    def password(self) -> str:
        return (self.folder / "password").read_text()

    def _run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        # fsync off and a log file: pg_ctl leaves the server holding whatever its output goes to.
        with open(self.folder / f"{program}.out", "ab") as output:
            return subprocess.run(
                [*self.prefix, *self._as_postgres(), str(self.programs / program), *arguments],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=check, cwd="/",
            )  # fmt: skip

    @staticmethod
    def _as_postgres() -> Sequence[str]:
        if os.geteuid() != 0:
            return ()
        return ("setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--")

    def start(self) -> None:
        """Start it unless it runs."""
        if self._run("pg_ctl", "-D", str(self.data), "status", check=False).returncode == 0:
            return
        settings = f"-p {self.port} -c listen_addresses={self.host} -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "-D", str(self.data), "-l", str(self.folder / "log"), "-w", "-o", settings, "start")

    def stop(self, mode: str = "fast") -> None:
        """`immediate` is as a crash."""
        self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop", check=False)

    def restart(self, pause: float = 0.0) -> None:
        self.stop("immediate")
        time.sleep(pause)
        self.start()

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, name: str = "postgres") -> Any:
        import psycopg

        arguments = {"host": self.host, "port": self.port, "user": USER, "password": self.password}
        return psycopg.connect(dbname=name, autocommit=True, **arguments)

    def make_database(self, options: str = "") -> str:
        """URL of a new empty database."""
        self._number += 1
        name = f"test{self._number}"
        words = ["-h", self.host, "-p", str(self.port), "-U", USER, "-d", "postgres", "-c", f"CREATE DATABASE {name} {options}"]
        psql = [*self.prefix, str(self.programs / "psql"), *words]
        subprocess.run(psql, env={**os.environ, "PGPASSFILE": str(self.password_file)}, check=True, capture_output=True)
        return self.url(name)

    def url(self, name: str) -> str:
        return f"postgresql://{USER}@{self.host}:{self.port}/{name}"
