"""A STAR file whose last block has millions of rows, read and written piece by piece. Loads no numpy."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from magellon.errors import BadInput
from magellon.io.files import reading, replacing
from magellon.io.star import StarTable, format_value, parse_star, split_line, write_star

_ROWS = 20_000
_NEEDS_QUOTES = re.compile(r"[\s'\"#]")


class StarStream:
    """One block of a STAR file; use as a context manager.

    `head` holds the blocks before it, `labels` its columns.

    Raises:
        BadInput: no such block, it has no columns, or two of one name.
    """

    def __init__(self, path: Path | str, block: str) -> None:
        self._path = path
        with reading(path):
            self._file = open(path, encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by __exit__
        self._line = 0
        self._first: str | None = None
        self._source = f"{path} (data_{block})"
        try:
            self.head = parse_star(self._read_head(block), path)
            self.labels = self._read_labels()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def pieces(self, rows: int = _ROWS) -> Iterator[StarTable]:
        """The rows in order, as tables of at most `rows`; none for an empty block. Can be gone through once.

        Raises:
            BadInput: a row has another number of values than there are labels.
        """
        kept: list[list[str]] = []
        for line in self._body():
            values = split_line(line)
            if not values:
                continue
            if values[0].startswith(("data_", "loop_")):
                break
            if len(values) != len(self.labels):
                where = f"{self._path}: line {self._line}"
                raise BadInput(f"{where} has {len(values)} values for {len(self.labels)} labels: damaged or truncated")
            kept.append(values)
            if len(kept) == rows:
                yield self._make_table(kept)
                kept = []
        if kept:
            yield self._make_table(kept)

    def _make_table(self, rows: list[list[str]]) -> StarTable:
        return StarTable(dict(zip(self.labels, map(list, zip(*rows, strict=True)), strict=True)), source=self._source)

    def _lines(self) -> Iterator[str]:
        while line := self._next():
            yield line

    def _next(self) -> str:
        with reading(self._path):
            line = self._file.readline()
        self._line += 1
        if "\0" in line:
            raise BadInput(f"{self._path}: not a STAR file: it holds binary data")
        return line

    def _read_head(self, block: str) -> str:
        head: list[str] = []
        for line in self._lines():
            if line.split(maxsplit=1)[:1] == [f"data_{block}"]:
                return "".join(head)
            head.append(line)
        raise BadInput(f"{self._path}: no block data_{block}")

    def _read_labels(self) -> list[str]:
        labels: list[str] = []
        for line in self._lines():
            values = split_line(line)
            if values and values[0].startswith("_"):
                label = values[0][1:]
                if label in labels:
                    raise BadInput(f"{self._path}: line {self._line}: label _{label} stands twice in its block")
                labels.append(label)
            elif values and values != ["loop_"]:
                self._first = line
                break
        if not labels:
            raise BadInput(f"{self._source}: no columns")
        return labels

    def _body(self) -> Iterator[str]:
        if self._first is not None:
            yield self._first
        yield from self._lines()


def write_star_stream(
    path: Path | str, head: Mapping[str, StarTable], block: str, labels: Sequence[str], pieces: Iterable[StarTable]
) -> int:
    """Write a STAR file whose last block, with columns of text, comes in pieces.

    Returns:
        The number of rows of that block.

    Raises:
        ValueError: a text that STAR cannot hold.
        Transient: the disk is full.
    """
    rows = 0
    with replacing(path) as temporary:
        write_star(temporary, head)
        with open(temporary, "a", encoding="utf-8") as file:
            file.write(f"\n# version 30001\n\ndata_{block}\n\nloop_\n")
            file.writelines(f"_{label} #{number}\n" for number, label in enumerate(labels, start=1))
            for piece in pieces:
                columns = [_quote(piece.texts(label)) for label in labels]
                file.writelines(" ".join(row) + "\n" for row in zip(*columns, strict=True))
                rows += piece.rows
            file.write("\n")
    return rows


def _quote(values: list[str]) -> list[str]:
    """Values as they must stand in the file; numbers and plain names, nearly always all of them, cost next to nothing."""
    if all(values) and not _NEEDS_QUOTES.search("".join(values)):
        return values
    return [format_value(value) for value in values]
