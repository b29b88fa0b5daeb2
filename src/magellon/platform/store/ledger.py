"""The ledger's database: open, migrate, transact. One writer: the server process."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from magellon.errors import Transient
from magellon.platform.store.engines import LedgerTaken, is_away, open_readers, open_writer

log = logging.getLogger("magellon.ledger")


class LedgerAway(Transient):
    """The database cannot work now (restarting, cut off, disk full); what the transaction held has not happened."""


class Ledger:
    """Truth about sessions, jobs, tasks and results."""

    def __init__(self, url: str) -> None:
        self.engine: Engine = open_writer(url)
        self._url = url
        self._readers: Engine | None = None

    @classmethod
    def at(cls, path: Path) -> "Ledger":
        return cls(f"sqlite:///{path}")

    def await_database(self, patience: float) -> None:
        """Connect, waiting up to `patience` seconds for a database that starts, or for another server that ends.

        Raises:
            LedgerAway: it does not answer.
            LedgerTaken: another server keeps it.
            BadInput: it cannot be used at all.
        """
        deadline = time.monotonic() + patience
        while True:
            try:
                with self.transaction() as connection:
                    connection.exec_driver_sql("SELECT 1")
                return
            except (LedgerAway, LedgerTaken) as error:
                if time.monotonic() > deadline:
                    raise
                log.warning("%s", error)
                time.sleep(1.0)

    def migrate(self, revision: str = "head") -> None:
        """Bring the tables to a revision, by default to that of this software."""
        logging.getLogger("alembic").setLevel(logging.WARNING)
        with (
            as_file(files("magellon.platform.store") / "migrations") as scripts,
            _name_outages(),
            self.engine.connect() as connection,
        ):
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(scripts).replace("%", "%%"))
            command.upgrade(config, revision)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing.

        Raises:
            LedgerAway: nothing of it has happened, or (if the connection broke at its very end) all of it has.
        """
        with _name_outages(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A read-only connection of its own, for any thread, on one state of the ledger from the first query on.

        Raises:
            LedgerAway: ask again later.
        """
        if self._readers is None:
            self._readers = open_readers(self._url)
        with _name_outages(), self._readers.connect() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN")  # Python's driver begins none for a SELECT
            yield connection

    def close(self) -> None:
        if self._readers is not None:
            self._readers.dispose()
        self.engine.dispose()


@contextmanager
def _name_outages() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if is_away(error):
            said = str(error.orig).strip().partition("\n")[0]
            raise LedgerAway(f"the ledger's database does not work now: {said}") from error
        raise
