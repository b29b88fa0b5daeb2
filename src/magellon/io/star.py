"""STAR files as RELION reads and writes them, without numpy.

A file is a mapping from block name ("optics", "particles", "" for `data_`) to a table; a table is a mapping from label,
without the leading underscore ("rlnMicrographName"), to a list with one value per row. Values read from a file are text, as
"001" may be a name or a number; `StarTable.floats` and its sisters convert them.
"""

import math
import os
import re
from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from magellon.errors import BadInput
from magellon.io.files import open_binary, reading, replacing

Value = str | int | float | os.PathLike[str]
_TOKEN = re.compile(r"""'(?P<single>(?:[^']|'(?=\S))*)'(?=\s|$)|"(?P<double>(?:[^"]|"(?=\S))*)"(?=\s|$)|(?P<plain>\S+)""")
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
    tables = _Parser(path).parse(raw.decode("utf-8", "replace").splitlines())
    if not tables:
        raise BadInput(f"{path}: not a STAR file: no data_ block in {len(raw)} bytes")
    return tables


def _split(line: str) -> list[str]:
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
    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.tables: dict[str, StarTable] = {}

    def parse(self, lines: list[str]) -> dict[str, StarTable]:
        table: StarTable | None = None
        labels: list[str] = []
        rows: list[list[str]] = []
        in_loop = False
        for number, line in enumerate(lines, 1):
            values = _split(line)
            if not values:
                continue
            first = values[0]
            if first.startswith("data_"):
                self._finish(table, labels, rows)
                table, labels, rows, in_loop = self._start(first[5:]), [], [], False
            elif table is None:
                raise BadInput(f"{self.path}: not a STAR file: line {number} stands before any data_ block: {line[:60]!r}")
            elif first == "loop_":
                if labels and in_loop:
                    raise BadInput(f"{self.path}: line {number}: a second loop_ in block data_{self._name}")
                in_loop, table.loop = True, True
            elif first.startswith("_") and not rows:
                self._add_label(table, labels, values, in_loop, number)
            elif in_loop:
                rows.append(self._check_row(values, labels, number))
            else:
                raise BadInput(f"{self.path}: line {number} is neither a label nor in a loop_: {line[:60]!r}")
        self._finish(table, labels, rows)
        return self.tables

    def _start(self, name: str) -> StarTable:
        unique, copy = name, 1
        while unique in self.tables:
            copy += 1
            unique = f"{name}#{copy}"
        self._name = unique
        table = StarTable(loop=False, source=f"{self.path} (data_{unique})")
        self.tables[unique] = table
        return table

    def _add_label(self, table: StarTable, labels: list[str], values: list[str], in_loop: bool, number: int) -> None:
        label = values[0][1:]
        if label in labels or label in table:
            raise BadInput(f"{self.path}: line {number}: label _{label} stands twice in block data_{self._name}")
        if in_loop:
            labels.append(label)
        elif len(values) == 2:
            table[label] = [values[1]]
        else:
            raise BadInput(f"{self.path}: line {number}: _{label} has {len(values) - 1} values instead of one")

    def _check_row(self, values: list[str], labels: list[str], number: int) -> list[str]:
        if len(values) != len(labels):
            raise BadInput(
                f"{self.path}: line {number} has {len(values)} values for {len(labels)} labels: damaged or truncated"
            )
        return values

    def _finish(self, table: StarTable | None, labels: list[str], rows: list[list[str]]) -> None:
        if table is None or not labels:
            return
        columns: Sequence[Sequence[str]] = list(zip(*rows, strict=True)) if rows else [[] for _ in labels]
        for label, column in zip(labels, columns, strict=True):
            table[label] = list(column)


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
    if text and not any(c.isspace() for c in text) and text[0] not in "_#'\"" and not text.startswith(("data_", "loop_")):
        return text
    if "\n" in text or "\r" in text:
        raise ValueError(f"a STAR value cannot hold a line break: {text[:40]!r}")
    quote = '"' if '"' not in text else "'"
    if quote in text:
        raise ValueError(f"a STAR value cannot hold both kinds of quotes: {text[:40]!r}")
    return f"{quote}{text}{quote}"


def _format_block(name: str, table: Mapping[str, Sequence[Value]]) -> str:
    columns = [list(map(format_value, values)) for values in table.values()]
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise ValueError(f"columns of data_{name} have different lengths: { {k: len(v) for k, v in table.items()} }")
    head = f"\n# version 30001\n\ndata_{name}\n\n"
    if isinstance(table, StarTable) and not table.loop:
        return head + "".join(f"_{label:<40} {column[0]:>20}\n" for label, column in zip(table, columns, strict=True)) + "\n"
    head += "loop_\n" + "".join(f"_{label} #{number}\n" for number, label in enumerate(table, 1))
    widths = [max((len(value) for value in column), default=0) for column in columns]
    padded = [[value.rjust(width) for value in column] for column, width in zip(columns, widths, strict=True)]
    return head + "".join(" ".join(row) + "\n" for row in zip(*padded, strict=True)) + "\n"
