"""The command `magellon clean`."""

from pathlib import Path
from typing import Annotated

import typer

from magellon.cli.console import console

_DAY = 86400.0


def clean_home(
    home: Annotated[Path, typer.Option(metavar="DIR", help="Where results are kept.")] = Path("~/magellon"),
    state: Annotated[Path | None, typer.Option(metavar="DIR", help="Ledger and bus.", show_default="HOME/state")] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="PostgreSQL, where no server runs.", show_default="a file in the state")
    ] = None,
    older_than: Annotated[float, typer.Option(min=0.05, metavar="DAYS", help="Only what was written so long ago.")] = 30.0,
    keep_results: Annotated[bool, typer.Option("--keep-results", help="Only what workers left behind.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")] = False,
) -> None:
    """Remove results that no task refers to any more, and folders and logs that workers left behind.

    A result that a session shows, or could show again by taking back a change, stays. It may run while the server does.
    """
    from magellon.platform.clean import clean
    from magellon.platform.server.cleaning import CleanRequest

    request = CleanRequest(older_than=older_than * _DAY, keep_results=keep_results, dry_run=dry_run)
    cleaned = clean(home, state, request, database)
    verb = "would remove" if dry_run else "removed"
    size = f"{cleaned.bytes / 2**30:.2f} GiB"
    console.print(
        f"{verb} {cleaned.results} results and {cleaned.left_over} folders and logs left behind, {size}", markup=False
    )
