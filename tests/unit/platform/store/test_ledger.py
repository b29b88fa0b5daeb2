"""The ledger's tables come from migrations and are those of the schema."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import metadata, tasks


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
