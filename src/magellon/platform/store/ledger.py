"""The ledger's database: open, migrate, transact. One writer: the server process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool


def _tune_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL with NORMAL survives the death of any process; a power cut may cost the last transactions, which promoted results
    # and a new attempt replace.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
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

    def close(self) -> None:
        self.engine.dispose()
