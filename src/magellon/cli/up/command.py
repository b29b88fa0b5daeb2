"""The command `magellon up`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from magellon.cli.console import console

if TYPE_CHECKING:
    from magellon.platform.up import Opened

WHERE, SITE, RUNNING = "Home and address", "A site", "Running"


def serve_home(
    home: Annotated[Path, typer.Option(metavar="DIR", help="Where results are kept.", rich_help_panel=WHERE)] = Path(
        "~/magellon"
    ),
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Ledger, bus, token; local disk.", rich_help_panel=WHERE, show_default="HOME/state"),
    ] = None,
    port: Annotated[int, typer.Option(metavar="N", help="0: any that is free.", rich_help_panel=WHERE)] = 8420,
    host: Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=WHERE)] = "127.0.0.1",
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Sessions must lie in it; may be repeated.",
            rich_help_panel=WHERE,
            show_default="any folder, on loopback",
        ),
    ] = None,
    nats: Annotated[
        str | None, typer.Option(metavar="URL", help="A NATS server or cluster.", rich_help_panel=SITE, show_default="our own")
    ] = None,
    nats_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Whom its certificate is signed by.", rich_help_panel=SITE)
    ] = None,
    nats_credentials: Annotated[
        Path | None, typer.Option(metavar="FILE", help="How it lets us in.", rich_help_panel=SITE)
    ] = None,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="PostgreSQL.", rich_help_panel=SITE, show_default="a file in the state")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Tasks at a time; 0: none here.", rich_help_panel=RUNNING, show_default="one per core"),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads per task.", rich_help_panel=RUNNING)] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=RUNNING)] = "auto",
) -> None:
    """Start the server and keep it running: sessions are submitted and followed over HTTP.

    It prints its address and how to log in. Ctrl-C ends it; started again, it goes on where it was.
    """
    from magellon.platform.up import UpOptions, serve_home

    options = UpOptions(
        home=home,
        state=state,
        host=host,
        port=port,
        data=tuple(data or ()),
        bus=nats,
        bus_ca=nats_ca,
        bus_credentials=nats_credentials,
        database=database,
        workers=workers,
        threads=threads,
        device=device,
    )
    serve_home(options, greet)


def greet(opened: "Opened") -> None:
    """Say where it is. The token itself is shown to a person at a terminal only: what is redirected may be read by others."""
    console.print(f"Magellon answers at {opened.url}", markup=False, soft_wrap=True)
    if console.is_terminal:
        console.print(f"Log in with the token {opened.token}", markup=False, soft_wrap=True)
    console.print(f"The token of this start is in {opened.token_file}; Ctrl-C ends the server.", markup=False, soft_wrap=True)
    console.file.flush()
