"""The ledger's database: open, migrate, transact. One writer: the server process."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool, StaticPool

_READERS = 8
"""Connections that read at a time; more wait."""


def _tune_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL with NORMAL survives the death of any process; a power cut may cost the last transactions, which promoted results
    # and a new attempt replace.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _open_readers(path: str | None) -> Engine:
    """Connections of their own, on which a write fails; they see the last commit (WAL) and hinder nobody."""
    if not path:
        raise ValueError("a database in memory cannot be read beside its writer")
    address = f"file:{quote(str(Path(path).absolute()))}?mode=ro"
    readers = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(address, uri=True, check_same_thread=False),
        poolclass=QueuePool,
        pool_size=_READERS,
        max_overflow=0,
    )
    event.listen(readers, "connect", _tune_reader)
    return readers


def _tune_reader(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


class Ledger:
    """Truth about sessions, jobs, tasks and results."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = (
            create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
            if url.startswith("sqlite")
            else create_engine(url)
        )
        if url.startswith("sqlite"):
            event.listen(self.engine, "connect", _tune_sqlite)
        self._readers: Engine | None = None

    @classmethod
    def at(cls, path: Path) -> "Ledger":
        return cls(f"sqlite:///{path}")

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables to a revision, by default to that of this software."""
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with as_file(files("magellon.platform.store") / "migrations") as scripts, self.engine.connect() as connection:
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(scripts).replace("%", "%%"))
            command.upgrade(config, revision)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read-only connection of its own, for any thread, on one state of the ledger from the first query on."""
        if self._readers is None:
            sqlite = self.engine.dialect.name == "sqlite"
            self._readers = _open_readers(self.engine.url.database) if sqlite else self.engine
        with self._readers.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")  # Python's driver begins none for a SELECT
            yield connection

    def close(self) -> None:
        if self._readers is not None and self._readers is not self.engine:
            self._readers.dispose()
        self.engine.dispose()
