"""Connections to the ledger's database. What differs between SQLite and PostgreSQL is here and beside it, nowhere else.

`inserting` has what is written differently, `expressions` what is calculated differently.
"""

import errno
import os
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool, StaticPool

from magellon.errors import BadInput

URL_VARIABLE = "MAGELLON_DATABASE"
PASSWORD_VARIABLE = "MAGELLON_DATABASE_PASSWORD_FILE"  # noqa: S105

_READERS = 8
"""Connections that read at a time; more wait."""
_DRIVER = "postgresql+psycopg"
_LOCK = 0x6D6167656C6C6F6E
"""Of the one server that may write; "magellon" as a number."""
_BY_BYTE = ("C", "POSIX", "C.UTF-8", "C.utf8")
_CREATE = "CREATE DATABASE ... TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"

_CONNECTION = {
    "client_encoding": "utf8", "connect_timeout": 3,
    "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10000,
    # The same at the database's end, so that it lets go of the lock of a server that was cut off.
    "options": "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout=10000",
}  # fmt: skip
"""A connection that was cut off is given up within some ten seconds."""

_AWAY_CLASSES = ("08", "40", "53", "57")
"""Of SQLSTATE: connection, transaction rolled back, resources, intervention of the operator."""
_AWAY_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN}


class LedgerTaken(BadInput):
    """Another server writes into this database."""


def find_database(option: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """URL of a site's database, from an option or MAGELLON_DATABASE; None for the ledger in the home.

    The password comes from `~/.pgpass` (or PGPASSFILE), from the file MAGELLON_DATABASE_PASSWORD_FILE or within
    MAGELLON_DATABASE, never from the command line, where everybody on the machine can read it.

    Raises:
        BadInput: no such URL, or a password on the command line.
    """
    text = option or environment.get(URL_VARIABLE)
    if not text:
        return None
    url = _read_url(text)
    if option and (url.password is not None or "password" in url.query):
        raise BadInput(f"a password in --database shows in process lists; use ~/.pgpass, or {URL_VARIABLE} for the whole URL")
    if file := environment.get(PASSWORD_VARIABLE):
        try:
            url = url.set(password=Path(file).read_text().strip())
        except OSError as error:
            raise BadInput(f"{PASSWORD_VARIABLE}: {file}: {error.strerror or errno.errorcode.get(error.errno or 0)}") from error
    return url.render_as_string(hide_password=False)


def _read_url(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise BadInput("the database's URL cannot be read; it looks like postgresql://user@host/name") from error
    if url.get_backend_name() not in ("postgresql", "sqlite") or not url.database:
        raise BadInput(f"database {url.render_as_string()}: postgresql://user@host/name is what there is")
    return url if url.get_backend_name() == "sqlite" else url.set(drivername=_DRIVER)


def open_writer(text: str) -> Engine:
    """The one connection that writes. On PostgreSQL it holds a lock for as long as it lives.

    Raises:
        BadInput: no such URL, or the driver is not installed. Connecting later may raise `LedgerTaken`, or BadInput if the
            database does not sort text by byte.
    """
    url = _read_url(text)
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
        event.listen(engine, "connect", _tune_sqlite)
        return engine
    engine = _create_postgresql(url, pool_size=1)
    event.listen(engine, "connect", _claim)
    return engine


def open_readers(text: str) -> Engine:
    """Connections of their own, on which a write fails; they see the last commit and hinder nobody."""
    url = _read_url(text)
    if url.get_backend_name() == "postgresql":
        return _create_postgresql(url, pool_size=_READERS).execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
    if not url.database:
        raise ValueError("a database in memory cannot be read beside its writer")
    address = f"file:{quote(str(Path(url.database).absolute()))}?mode=ro"
    readers = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(address, uri=True, check_same_thread=False),
        poolclass=QueuePool, pool_size=_READERS, max_overflow=0,
    )  # fmt: skip
    event.listen(readers, "connect", _tune_reader)
    return readers


def _create_postgresql(url: URL, pool_size: int) -> Engine:
    try:
        return create_engine(
            url, poolclass=QueuePool, pool_size=pool_size, max_overflow=0, pool_pre_ping=True, connect_args=_CONNECTION
        )
    except ImportError as error:
        raise BadInput('PostgreSQL needs a driver: pip install "magellon[site]"') from error


def _tune_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL with NORMAL survives the death of any process; a power cut may cost the last transactions, which promoted results
    # and a new attempt replace.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _tune_reader(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA query_only=ON")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def _claim(connection: Any, _record: Any) -> None:
    """Check the database and take the lock; the connection is closed if that fails."""
    try:
        _check_order(connection)
        if not _ask(connection, f"SELECT pg_try_advisory_lock({_LOCK})")[0]:
            raise LedgerTaken("another server works with this database; a database serves one server")
        connection.commit()
    except BaseException:
        connection.close()
        raise


def _check_order(connection: Any) -> None:
    """Names are sorted here as everywhere else in Magellon, or the sample of a survey would depend on the database."""
    query = "SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()"
    collation, encoding = _ask(connection, query)
    if collation not in _BY_BYTE or encoding != "UTF8":
        raise BadInput(f"the database has collation {collation} and encoding {encoding}, needed are C and UTF8: {_CREATE}")


def _ask(connection: Any, query: str) -> tuple[Any, ...]:
    return tuple(connection.execute(query).fetchone())


def is_away(error: DBAPIError) -> bool:
    """Whether the database cannot work now but may later: gone, starting, cut off, full, busy."""
    if error.connection_invalidated:
        return True
    original = error.orig
    code = getattr(original, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in _AWAY_CODES
    if isinstance(original, sqlite3.Error):
        return False
    state = getattr(original, "sqlstate", None)
    return state[:2] in _AWAY_CLASSES if state else type(original).__name__ in ("OperationalError", "InterfaceError")
