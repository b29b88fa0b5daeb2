"""STAR files as RELION reads and writes them, without numpy.

A file is a mapping from block name ("optics", "particles", "" for `data_`) to a table; a table is a mapping from label,
without the leading underscore ("rlnMicrographName"), to a list with one value per row. Values read from a file are text, as
"001" may be a name or a number; `StarTable.floats` and its sisters convert them.
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from numbers import Integral
from pathlib import Path
from typing import Any

from magellon.errors import BadInput
from magellon.io.files import open_binary, reading, replacing

Value = str | int | float | os.PathLike[str]
_TOKEN = re.compile(r"""'(?P<single>(?:[^']|'(?=\S))*)'(?=\s|$)|"(?P<double>(?:[^"]|"(?=\S))*)"(?=\s|$)|(?P<plain>\S+)""")
_PLAIN = re.compile(r"(?!data_|loop_)[^\s_#'\"]\S*")
_ROWS_AT_ONCE = 1000
_COMMENT = re.compile(r"(?:^|\s)#.*")


class StarTable(dict[str, list[Any]]):
    """Columns by label, all of one length."""

    def __init__(self, columns: Mapping[str, Sequence[Any]] | None = None, *, loop: bool = True, source: str = "table") -> None:
        super().__init__({label: list(values) for label, values in (columns or {}).items()})
        self.loop = loop
        """False for a block of single values without `loop_`."""
        self.source = source
        """File and block, for messages."""

    @property
    def rows(self) -> int:
        return len(next(iter(self.values()), []))

    def texts(self, label: str) -> list[str]:
        """The column as text.

        Raises:
            BadInput: no such column.
        """
        if label not in self:
            raise BadInput(f"{self.source}: no column {label}; there are {', '.join(self) or 'none'}")
        return [value if isinstance(value, str) else format_value(value) for value in self[label]]

    def floats(self, label: str, default: float | None = None) -> list[float]:
        """The column as numbers; `default` in every row when there is no such column.

        Raises:
            BadInput: no such column and no default, or a value that is not a number.
        """
        if label not in self and default is not None:
            return [default] * self.rows
        column = self[label] if label in self else self.texts(label)
        try:
            return list(map(float, column))
        except ValueError:
            raise self._not_a_number(label, column, float) from None

    def ints(self, label: str, default: int | None = None) -> list[int]:
        """The column as whole numbers ("3.000000" is one). See `floats`."""
        if label not in self and default is not None:
            return [default] * self.rows
        column = self[label] if label in self else self.texts(label)
        try:
            return list(map(int, column))
        except ValueError:
            pass
        numbers = self.floats(label)
        for row, number in enumerate(numbers, 1):
            if not number.is_integer():
                raise BadInput(f"{self.source}: {label} in row {row} is {number}, not a whole number")
        return [int(number) for number in numbers]

    def _not_a_number(self, label: str, column: Sequence[Any], kind: type) -> BadInput:
        for row, value in enumerate(column, 1):
            try:
                kind(value)
            except ValueError:
                return BadInput(f"{self.source}: {label} in row {row} is {str(value)[:40]!r}, not a number")
        return BadInput(f"{self.source}: {label} is not numeric")


def read_star(path: Path | str) -> dict[str, StarTable]:
    """Read every block of a STAR file. Two blocks of one name: the later is called "name#2".

    Raises:
        BadInput: not a STAR file, or a row whose number of values is not that of the labels.
    """
    with reading(path), open_binary(path) as file:
        raw = file.read()
    if b"\0" in raw:
        raise BadInput(f"{path}: not a STAR file: it holds binary data")
    tables = parse_star(raw.decode("utf-8", "replace"), path)
    if not tables:
        raise BadInput(f"{path}: not a STAR file: no data_ block in {len(raw)} bytes")
    return tables


def parse_star(text: str, source: Path | str) -> dict[str, StarTable]:
    """The blocks of a text; `source` is named in messages. See `read_star`."""
    return _Parser(source).parse(text)


def split_line(line: str) -> list[str]:
    """Values of one line; quotes hold a value together, and a # after white space starts a comment."""
    if "'" not in line and '"' not in line:
        if "#" in line:
            line = _COMMENT.sub("", line)
        return line.split()
    values = []
    for match in _TOKEN.finditer(line):
        value = match.group(match.lastgroup or "plain")
        if match.lastgroup == "plain" and value.startswith("#"):
            break
        values.append(value)
    return values


class _Parser:
    """Goes through the lines once; rows of a loop are taken all at once, as there may be a million."""

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.tables: dict[str, StarTable] = {}

    def parse(self, text: str) -> dict[str, StarTable]:
        lines = text.splitlines()
        starts = [number for number, line in enumerate(lines) if line.lstrip().startswith("data_")]
        for number, line in enumerate(lines[: starts[0]] if starts else lines):
            if split_line(line):
                raise BadInput(f"{self.path}: not a STAR file: line {number + 1} stands before any data_ block: {line[:60]!r}")
        for start, end in pairwise([*starts, len(lines)]):
            name = split_line(lines[start])[0][5:]
            self._parse_block(self._name_uniquely(name), lines, start + 1, end)
        return self.tables

    def _name_uniquely(self, name: str) -> str:
        unique, copy = name, 1
        while unique in self.tables:
            copy += 1
            unique = f"{name}#{copy}"
        return unique

    def _parse_block(self, name: str, lines: list[str], start: int, end: int) -> None:
        table = StarTable(loop=False, source=f"{self.path} (data_{name})")
        self.tables[name] = table
        labels: list[str] = []
        for number in range(start, end):
            values = split_line(lines[number])
            if not values:
                continue
            where = f"{self.path}: line {number + 1}"
            if values[0] == "loop_" and not table.loop:
                table.loop = True
            elif values[0].startswith("_") and len(values[0]) > 1:
                self._add_label(table, labels, values, where)
            elif table.loop and labels:
                self._add_rows(table, labels, lines, number, end)
                return
            else:
                raise BadInput(f"{where} is neither a label nor in a loop_: {lines[number][:60]!r}")
        table.update({label: [] for label in labels})

    def _add_label(self, table: StarTable, labels: list[str], values: list[str], where: str) -> None:
        label = values[0][1:]
        if label in labels or label in table:
            raise BadInput(f"{where}: label _{label} stands twice in its block")
        if table.loop:
            labels.append(label)
        elif len(values) == 2:
            table[label] = [values[1]]
        else:
            raise BadInput(f"{where}: _{label} has {len(values) - 1} values instead of one")

    def _add_rows(self, table: StarTable, labels: list[str], lines: list[str], start: int, end: int) -> None:
        body = lines[start:end]
        special = any(mark in line for line in body for mark in "'\"#")
        split = split_line if special else str.split
        columns: list[list[str]] = [[] for _ in labels]
        for first in range(0, len(body), _ROWS_AT_ONCE):  # few rows live at a time: half the time of all at once
            rows = [row for row in map(split, body[first : first + _ROWS_AT_ONCE]) if row]
            if any(len(row) != len(labels) for row in rows) or any(row[0] == "loop_" for row in rows):
                self._refuse_row(labels, body, start)
            for column, values in zip(columns, zip(*rows, strict=True), strict=False):
                column.extend(values)
        table.update(zip(labels, columns, strict=True))

    def _refuse_row(self, labels: list[str], body: list[str], start: int) -> None:
        for number, line in enumerate(body, start + 1):
            row = split_line(line)
            where = f"{self.path}: line {number}"
            if row and row[0] == "loop_":
                raise BadInput(f"{where}: a second loop_ in one block")
            if row and len(row) != len(labels):
                raise BadInput(f"{where} has {len(row)} values for {len(labels)} labels: damaged or truncated")


def write_star(path: Path | str, tables: Mapping[str, Mapping[str, Sequence[Value]]]) -> None:
    """Write blocks of equally long columns, in the given order, as RELION 3.1 and later do.

    A `StarTable` with `loop=False` is written as single values. Floats have six decimals, or seven significant digits below
    0.01.

    Raises:
        ValueError: columns of different length, or a text that STAR cannot hold.
        Transient: the disk is full.
    """
    text = "".join(_format_block(name, table) for name, table in tables.items())
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def format_value(value: Value) -> str:
    """One value as text, the same for the same value everywhere.

    Raises:
        ValueError: NaN or infinite, or a text with a line break or with both kinds of quotes.
    """
    if isinstance(value, str):
        return _quote(value)
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, os.PathLike):
        return _quote(os.fspath(value))
    number = float(value)
    if number == 0:
        return "0.000000"
    if 0.01 <= abs(number) < 1e15:
        return f"{number:.6f}"
    if not math.isfinite(number):
        raise ValueError(f"{number} is not finite: a STAR file cannot hold it")
    return f"{number:.6e}"


def _quote(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    if "\n" in text or "\r" in text:
        raise ValueError(f"a STAR value cannot hold a line break: {text[:40]!r}")
    quote = '"' if '"' not in text else "'"
    if quote in text:
        raise ValueError(f"a STAR value cannot hold both kinds of quotes: {text[:40]!r}")
    return f"{quote}{text}{quote}"


def _format_column(values: Sequence[Value]) -> list[str]:
    """`format_value` of each, faster where all are plain floats."""
    if set(map(type, values)) == {float}:
        return [f"{x:.6f}" if 0.01 <= x < 1e15 or -1e15 < x <= -0.01 else format_value(x) for x in values]  # type: ignore[operator]
    return list(map(format_value, values))


def _format_block(name: str, table: Mapping[str, Sequence[Value]]) -> str:
    columns = [_format_column(values) for values in table.values()]
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise ValueError(f"columns of data_{name} have different lengths: { {k: len(v) for k, v in table.items()} }")
    head = f"\n# version 30001\n\ndata_{name}\n\n"
    if isinstance(table, StarTable) and not table.loop:
        return head + "".join(f"_{label:<40} {column[0]:>20}\n" for label, column in zip(table, columns, strict=True)) + "\n"
    head += "loop_\n" + "".join(f"_{label} #{number}\n" for number, label in enumerate(table, 1))
    widths = [max(map(len, column), default=0) for column in columns]
    pattern = " ".join(f"%{width}s" for width in widths) + "\n"
    return head + "".join(map(pattern.__mod__, zip(*columns, strict=True))) + "\n"
