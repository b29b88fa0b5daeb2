"""The ledger on PostgreSQL behaves as on SQLite, has one writer, and outlives restarts of the database."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from database import Cluster
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from magellon.errors import BadInput
from magellon.platform.store.engines import LedgerTaken, find_database
from magellon.platform.store.inserting import insert_if_absent, insert_or_replace
from magellon.platform.store.ledger import Ledger, LedgerAway
from magellon.platform.store.schema import metadata, plugins, results, sessions

pytestmark = pytest.mark.slow


@pytest.fixture
def ledger(database: str) -> Iterator[Ledger]:
    made = Ledger(database)
    made.migrate()
    yield made
    made.close()


def add(connection: Connection, name: str) -> None:
    connection.execute(sessions.insert().values(name=name, folder=f"/{name}", definition={"Å": [1, None]}))


def list_names(connection: Connection) -> list[str]:
    return list(connection.execute(select(sessions.c.name).order_by(sessions.c.name)).scalars())


def test_migrations_make_the_schema_and_can_be_repeated(ledger: Ledger) -> None:
    ledger.migrate()
    with ledger.transaction() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_ledger_of_the_first_version_keeps_its_rows(database: str) -> None:
    ledger = Ledger(database)
    ledger.migrate("0001")
    with ledger.transaction() as connection:
        add(connection, "old")
        values = "(1, '{}', true, 0.0)"
        connection.exec_driver_sql(f"INSERT INTO jobs (session_id, plan, active, created_at) VALUES {values}")
    ledger.migrate()
    with ledger.transaction() as connection:
        assert list_names(connection) == ["old"]
        assert connection.exec_driver_sql("SELECT priority, paused FROM jobs").one() == (0, False)
    ledger.close()


def test_names_are_in_the_order_of_the_other_ledger(ledger: Ledger, tmp_path: Path) -> None:
    names = ["b", "B", "a", "_", "Å", "a-1", "a1", "a_1", "é", "Z", "10", "9"]
    other = Ledger.at(tmp_path / "ledger.sqlite")
    other.migrate()
    found = []
    for each in (ledger, other):
        with each.transaction() as connection:
            for name in names:
                add(connection, name)
            found.append(list_names(connection))
    other.close()
    assert found[0] == found[1] == sorted(names)


def test_insertions_mind_what_is_there(ledger: Ledger) -> None:
    def row(identity: str, value: int) -> dict[str, object]:
        return {"identity": identity, "output": {"value": value}, "provenance": {}, "created_at": 0.0}

    with ledger.transaction() as connection:
        insert_if_absent(connection, results, [row("a", 1)])
        insert_if_absent(connection, results, [row("a", 2), row("b", 2)])
        assert connection.execute(select(results.c.output).order_by(results.c.identity)).scalars().all() == [
            {"value": 1}, {"value": 2},
        ]  # fmt: skip
        for enabled in (True, False):
            chosen = {"category": "fft", "backend": "fft", "enabled": enabled, "preferred": True}
            insert_or_replace(connection, plugins, [chosen])
        assert connection.execute(select(plugins.c.enabled)).scalars().all() == [False]


def test_one_server_writes(ledger: Ledger, database: str) -> None:
    second = Ledger(database)
    with pytest.raises(LedgerTaken, match="another server"):
        second.await_database(0)
    with second.reading() as connection:
        assert list_names(connection) == []
    ledger.close()
    second.await_database(10)
    with pytest.raises(LedgerTaken):
        ledger.await_database(0)
    second.close()


def test_readers_cannot_write_and_see_one_state(ledger: Ledger) -> None:
    with ledger.transaction() as connection:
        add(connection, "a")
    with ledger.reading() as reader:
        assert list_names(reader) == ["a"]
        with ledger.transaction() as connection:
            add(connection, "b")
        assert list_names(reader) == ["a"]
    with ledger.reading() as reader:
        assert list_names(reader) == ["a", "b"]
        with pytest.raises(DBAPIError, match="read-only"):
            add(reader, "c")

    seen: list[int] = []

    def count() -> None:
        for _ in range(20):
            with ledger.reading() as reader:
                seen.append(int(reader.execute(select(func.count()).select_from(sessions)).scalar_one()))

    threads = [threading.Thread(target=count) for _ in range(12)]
    for thread in threads:
        thread.start()
    for number in range(50):
        with ledger.transaction() as connection:
            add(connection, f"n{number}")
    for thread in threads:
        thread.join()
    assert len(seen) == 240


def test_a_restart_between_transactions_is_not_noticed(ledger: Ledger, cluster: Cluster) -> None:
    with ledger.transaction() as connection:
        add(connection, "a")
    with ledger.reading() as reader:
        assert list_names(reader) == ["a"]
    cluster.restart()
    with ledger.transaction() as connection:
        add(connection, "b")
    with ledger.reading() as reader:
        assert list_names(reader) == ["a", "b"]


def test_a_restart_within_a_transaction_undoes_it_whole(ledger: Ledger, cluster: Cluster) -> None:
    with pytest.raises(LedgerAway), ledger.transaction() as connection:  # noqa: PT012
        add(connection, "half")
        cluster.restart()
        add(connection, "done")
    with ledger.transaction() as connection:
        assert list_names(connection) == []


def test_a_database_that_is_away_is_waited_for(ledger: Ledger, cluster: Cluster) -> None:
    cluster.stop()
    with pytest.raises(LedgerAway, match="does not work now"):
        ledger.await_database(0)
    with pytest.raises(LedgerAway), ledger.reading():
        pass
    starter = threading.Timer(1.5, cluster.start)
    starter.start()
    began = time.monotonic()
    ledger.await_database(60)
    assert time.monotonic() - began > 1
    starter.join()
    with ledger.transaction() as connection:
        add(connection, "later")


def test_a_database_that_sorts_otherwise_is_refused(cluster: Cluster, database: str) -> None:
    with cluster.connect() as connection:
        known = {row[0] for row in connection.execute("SELECT collname FROM pg_collation")}
    other = next((name for name in ("en_US.utf8", "en_GB.utf8", "de_DE.utf8") if name in known), None)
    if other is None:
        url = cluster.make_database("TEMPLATE template0 ENCODING 'SQL_ASCII'")
    else:
        url = cluster.make_database(f"TEMPLATE template0 LC_COLLATE '{other}' LC_CTYPE '{other}'")
    with pytest.raises(BadInput, match="CREATE DATABASE"):
        Ledger(url).await_database(0)


def test_a_wrong_password_and_a_wrong_name_are_said(
    cluster: Cluster, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LedgerAway, match="does not exist"):
        Ledger(cluster.url("nothing")).await_database(0)
    (tmp_path / "password").write_text("not-the-right-one\n")
    monkeypatch.setenv("MAGELLON_DATABASE_PASSWORD_FILE", str(tmp_path / "password"))
    url = find_database(database)
    assert url is not None
    with pytest.raises(LedgerAway, match="password authentication failed") as caught:
        Ledger(url).await_database(0)
    assert "not-the-right-one" not in str(caught.value)
    (tmp_path / "password").write_text(cluster.password)
    url = find_database(database)
    assert url is not None
    ledger = Ledger(url)
    ledger.await_database(0)
    ledger.close()
