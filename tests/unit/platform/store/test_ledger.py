"""The ledger's tables come from migrations and are those of the schema."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select

from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import jobs, metadata, tasks


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
