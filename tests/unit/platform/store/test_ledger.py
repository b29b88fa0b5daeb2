"""The ledger's tables come from migrations and are those of the schema."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import jobs, metadata, roots, tasks


def test_migrations_make_the_schema_and_can_be_repeated(tmp_path: Path) -> None:
    ledger = Ledger.at(tmp_path / "ledger.sqlite")
    ledger.migrate()
    ledger.migrate()
    with ledger.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        sql = connection.exec_driver_sql(f"SELECT sql FROM sqlite_master WHERE name = '{tasks.name}'").scalar()
        assert "AUTOINCREMENT" in str(sql)
    ledger.close()


def test_a_ledger_of_the_first_version_keeps_its_rows(tmp_path: Path) -> None:
    ledger = Ledger.at(tmp_path / "ledger.sqlite")
    ledger.migrate("0001")
    with ledger.transaction() as connection:
        connection.exec_driver_sql("INSERT INTO sessions (id, name, folder, definition) VALUES (1, 'a', '/a', '{}')")
        connection.exec_driver_sql("INSERT INTO items (id, session_id, name, movie, identity) VALUES (1, 1, 'm', '{}', '{}')")
        connection.exec_driver_sql("INSERT INTO jobs (id, session_id, plan, active, created_at) VALUES (1, 1, '{}', 1, 0.0)")
        values = "(1, 1, 'step', 'fft', 'fft', 'pending', 0, 0, 0, 0, 0.0)"
        names = "job_id, item_id, step, category, backend, state, attempt, published, failures, lost, not_before"
        connection.exec_driver_sql(f"INSERT INTO tasks ({names}) VALUES {values}")
    ledger.migrate()
    with ledger.transaction() as connection:
        job = connection.execute(select(jobs)).one()
        assert (job.active, job.priority, job.paused) == (True, 0, False)
        assert connection.execute(select(tasks.c.state, tasks.c.former)).one() == ("pending", None)
    ledger.close()


def test_readers_see_what_was_committed_from_any_thread_and_cannot_write(tmp_path: Path) -> None:
    ledger = Ledger.at(tmp_path / "a %ledger#.sqlite")
    ledger.migrate()
    count = select(func.count()).select_from(roots)

    def read(_: int) -> int:
        with ledger.reading() as connection:
            return connection.execute(count).scalar_one()

    with ledger.transaction() as connection:
        connection.execute(roots.insert().values(name="a", description={}))
        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(read, range(20))) == {0}
    with ledger.reading() as reader:
        assert reader.execute(count).scalar_one() == 1
        with ledger.transaction() as connection:
            connection.execute(roots.insert().values(name="b", description={}))
        assert reader.execute(count).scalar_one() == 1, "one state from the first query on"
    assert read(0) == 2
    with ledger.reading() as reader, pytest.raises(OperationalError, match="readonly"):
        reader.execute(roots.insert().values(name="c", description={}))
    ledger.close()
