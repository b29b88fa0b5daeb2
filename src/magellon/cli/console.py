"""How the commands speak: results on standard output, progress and errors on standard error."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

console = Console(highlight=False)
stderr = Console(stderr=True, highlight=False)


def say_error(message: str) -> None:
    """One error, however long, without interpreting brackets in it as colours."""
    stderr.print("error:", style="bold red", end=" ")
    stderr.print(message, markup=False, soft_wrap=True)


def make_progress() -> Progress:
    """Bars on standard error: name, bar, done of total, times. Nothing is drawn when nobody watches."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=stderr,
        disable=not stderr.is_terminal,
    )


def make_table(*columns: str, title: str | None = None, numbers: tuple[str, ...] = ()) -> Table:
    """A plain table; the columns in `numbers` are right-aligned."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    return table
