"""Statements run with many rows do what SQLAlchemy's own way does, on either database's dialect."""

from pathlib import Path

import pytest
from sqlalchemy import bindparam, create_engine, select, update
from sqlalchemy.dialects.postgresql import psycopg

from magellon.platform.store.batches import _compile, execute_many
from magellon.platform.store.schema import events, metadata

_record = events.insert()
_close = (
    update(events).where(events.c.id == bindparam("number"), events.c.kind == "old").values(text=bindparam("said"), kind="new")
)
ROWS = [{"at": 1.5, "job_id": 1, "task_id": None, "kind": "old", "text": None}] * 3


def test_rows_are_as_by_the_usual_way(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/ledger")
    metadata.create_all(engine)
    with engine.begin() as connection:
        execute_many(connection, _record, ROWS)
        connection.execute(_record, ROWS)
        execute_many(connection, _close, [{"said": "it's 50 % done", "number": 1}, {"said": None, "number": 4}])
        execute_many(connection, _close, [])
        found = [tuple(row) for row in connection.execute(select(events).order_by(events.c.id))]
    engine.dispose()
    same = (1.5, 1, None, "old", None)
    assert found[0] == (1, 1.5, 1, None, "new", "it's 50 % done")
    assert found[3] == (4, 1.5, 1, None, "new", None)
    assert [row[1:] for row in (found[1], found[2], found[4], found[5])] == [same] * 4


@pytest.mark.parametrize("statement", [_record, _close])
def test_postgresql_is_given_names_and_asked_for_nothing_back(statement: object) -> None:
    compiled = _compile(statement, psycopg.dialect(), tuple(sorted(ROWS[0])))  # type: ignore[arg-type]
    assert "%(" in compiled.string
    assert "RETURNING" not in compiled.string
