"""Statements that are run with very many rows."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Update


def execute_many(connection: Connection, statement: Insert | Update, rows: Sequence[Mapping[str, Any]]) -> None:
    """As `connection.execute(statement, rows)`, without a look at each value of each row: that takes longer than the work.

    For statements that are made once and name all their parameters, and for values that go to the driver as they are: text,
    numbers and None, but not JSON. All rows name the same parameters.
    """
    if not rows:
        return
    compiled = _compile(statement, connection.dialect, tuple(sorted(rows[0])))
    fixed = compiled.params
    if compiled.positional:
        names = compiled.positiontup
        connection.exec_driver_sql(compiled.string, [tuple({**fixed, **row}[name] for name in names) for row in rows])
    else:
        connection.exec_driver_sql(compiled.string, [{**fixed, **row} for row in rows])


@lru_cache(maxsize=64)
def _compile(statement: Insert | Update, dialect: Dialect, names: tuple[str, ...]) -> Any:
    if isinstance(statement, Insert):
        return statement.inline().compile(dialect=dialect, column_keys=list(names))  # asks for no new keys
    return statement.compile(dialect=dialect)
