"""A pytest plugin: the ledger that a test opens in a file is an empty one on PostgreSQL instead."""

import os
from pathlib import Path

import psycopg

from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import metadata

_ADDRESS = os.environ["TEST_POSTGRESQL"]
"""`host port user`; the password is in PGPASSFILE."""
_HOST, _PORT, _USER = _ADDRESS.split()
_URL = f"postgresql://{_USER}@{_HOST}:{_PORT}/postgres"
_opened: list[Path] = []


def _open(path: Path) -> Ledger:
    """Another path is an empty ledger; all tables are there already, as the tests copy files to save time."""
    if path not in _opened[-1:]:
        with psycopg.connect(host=_HOST, port=_PORT, user=_USER, dbname="postgres", autocommit=True) as connection:
            if not _opened:
                ledger = Ledger(_URL)
                ledger.migrate()
                ledger.close()
            connection.execute(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY CASCADE".encode())
        _opened.append(path)
        path.touch()
    return Ledger(_URL)


Ledger.at = staticmethod(_open)  # type: ignore[method-assign,assignment]
