"""`magellon show FILE`: header, statistics and picture of any file Magellon reads."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.text import Text

from magellon.cli.console import console
from magellon.errors import BadInput

if TYPE_CHECKING:
    from magellon.io.describe import FileDescription

MOST_COLUMNS = 72


def show_file(
    files: Annotated[list[Path], typer.Argument(metavar="FILES", help="Movies, micrographs, stacks, gains, STAR files.")],
    png: Annotated[
        Path | None,
        typer.Option(metavar="FILE|FOLDER", help="Write the picture there; a folder for several files.", show_default=False),
    ] = None,
    size: Annotated[int, typer.Option(min=16, max=8192, metavar="px", help="Longest side of the picture.")] = 1024,
    picture: Annotated[bool, typer.Option(help="Draw the picture in the terminal.", show_default="in a terminal")] = True,
) -> None:
    """Header, statistics and picture of any supported file. Status 1 if one cannot be read."""
    from magellon.io.describe import describe_file

    if png is not None and len(files) > 1 and not png.is_dir():
        raise BadInput(f"--png {png}: give an existing folder for the pictures of {len(files)} files")
    for path in files:
        if not path.exists():
            raise BadInput(f"{path} does not exist")
        description = describe_file(path, size)
        _print_facts(description)
        if png is not None:
            _write_picture(description, png)
        elif picture and console.is_terminal:
            _draw(description)


def _print_facts(description: "FileDescription") -> None:
    console.print(f"{description.path}: {description.kind}", style="bold", markup=False, soft_wrap=True)
    statistics = {name: f"{value:.6g}" for name, value in description.statistics.items()}
    facts = {**description.facts, **statistics}
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        console.print(f"  {name:<{width}}  {escape(value)}", soft_wrap=True)


def _write_picture(description: "FileDescription", png: Path) -> None:
    from magellon.io.picture import write_png

    if description.picture is None:
        raise BadInput(f"{description.path}: has no pixels to make a picture of")
    path = png / f"{description.path.stem}.png" if png.is_dir() else png
    write_png(path, description.picture)
    console.print(f"  picture  {path}", markup=False, soft_wrap=True)


def _draw(description: "FileDescription") -> None:
    """Two pixels per character cell, the upper as foreground and the lower as background of a half block."""
    if description.picture is None:
        return
    from magellon.io.picture import contrast, shrink

    columns = min(console.width - 2, MOST_COLUMNS)
    grey = contrast(shrink(description.picture, columns))
    lines = Text()
    for upper, lower in zip(grey[0::2], grey[1::2], strict=False):
        lines.append("  ")
        for top, bottom in zip(upper, lower, strict=True):
            lines.append("▀", style=f"rgb({top},{top},{top}) on rgb({bottom},{bottom},{bottom})")
        lines.append("\n")
    console.print(lines, end="")
