"""The bus and the database that Magellon brings itself: are they there, and do they start?"""

import socket
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

from magellon.cli.doctor.finding import Finding
from magellon.errors import BadInput
from magellon.platform.bus.configuration import find_nats_server, write_configuration

START_LIMIT = 10.0
"""Seconds within which a server that works has started, also on a busy machine."""


def examine_bus() -> list[Finding]:
    """Find the NATS server and start it for a moment, with a store of its own."""
    try:
        program = find_nats_server()
        version = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=START_LIMIT, check=True)
    except (BadInput, OSError, subprocess.SubprocessError) as error:
        return [Finding("bus", "nats-server", "problem", str(error), "`magellon process` cannot run; `magellon run` can")]
    return [Finding("bus", "nats-server", "ok", f"{version.stdout.strip()} ({program})"), _start_bus(program)]


def _start_bus(program: Path) -> Finding:
    with tempfile.TemporaryDirectory(prefix="magellon-doctor-") as folder:
        address = write_configuration(Path(folder) / "nats.conf")
        port = int(address.url.rpartition(":")[2])
        started = time.monotonic()
        server = subprocess.Popen(
            [program, "-c", str(Path(folder) / "nats.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            if _answers(port, server):
                return Finding("bus", "start", "ok", f"answers after {time.monotonic() - started:.1f} s on 127.0.0.1:{port}")
        finally:
            server.kill()
            _, said = server.communicate()
    lines = said.decode(errors="replace").strip().splitlines()
    return Finding("bus", "start", "problem", lines[-1] if lines else "no answer", "`magellon process` cannot run here")


def _answers(port: int, server: "subprocess.Popen[bytes]") -> bool:
    deadline = time.monotonic() + START_LIMIT
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            time.sleep(0.05)
    return False


def examine_database(state: Path) -> list[Finding]:
    """SQLite's version, and its write-ahead log on the filesystem where the ledger will lie."""
    base = next(each for each in (state.absolute(), *state.absolute().parents) if each.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".magellon-doctor-", dir=base) as folder:
            connection = sqlite3.connect(Path(folder) / "try.sqlite")
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            connection.execute("CREATE TABLE try (id INTEGER)")
            connection.close()
    except (sqlite3.Error, OSError) as error:
        return [Finding("database", "SQLite", "problem", str(error), "the ledger cannot be kept here; see --home")]
    found = f"SQLite {sqlite3.sqlite_version}, journal {mode}"
    if mode != "wal":
        return [Finding("database", "SQLite", "problem", found, "no write-ahead log on this filesystem: slow, blocks readers")]
    return [Finding("database", "SQLite", "ok", found)]
