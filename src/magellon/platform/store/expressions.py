"""Expressions on numbers that SQLite and PostgreSQL write differently."""

from typing import Any

from sqlalchemy import ColumnElement, Integer, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class exact_text(FunctionElement[str]):  # noqa: N801 # reads like a function of the database
    """A number as a text from which `float` makes the same number again."""

    type = String()
    inherit_cache = True

    def __init__(self, number: ColumnElement[Any]) -> None:
        super().__init__(number)


class whole_part(FunctionElement[int]):  # noqa: N801
    """A number that is not negative without its fraction."""

    type = Integer()
    inherit_cache = True

    def __init__(self, number: ColumnElement[Any]) -> None:
        super().__init__(number)


@compiles(exact_text, "sqlite")
def _write_exact_text(element: exact_text, compiler: Any, **words: Any) -> str:
    return f"printf('%!.17g', {compiler.process(element.clauses, **words)})"


@compiles(exact_text, "postgresql")
def _write_exact_text_there(element: exact_text, compiler: Any, **words: Any) -> str:
    return f"CAST(CAST({compiler.process(element.clauses, **words)} AS DOUBLE PRECISION) AS VARCHAR)"


@compiles(whole_part, "sqlite")
def _write_whole_part(element: whole_part, compiler: Any, **words: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **words)} AS INTEGER)"


@compiles(whole_part, "postgresql")
def _write_whole_part_there(element: whole_part, compiler: Any, **words: Any) -> str:
    return f"CAST(TRUNC({compiler.process(element.clauses, **words)}) AS INTEGER)"
