"""The command `magellon process FOLDER`."""

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from magellon.cli.acquisition import (
    collect_flags,
    make_acquisition,
    make_option,
    movie_flags,
    optics_flags,
    read_movie_options,
    read_optics_options,
    session_flags,
)
from magellon.cli.console import say_error
from magellon.cli.device import device_option
from magellon.cli.process.progress import watch_session
from magellon.cli.process.summary import print_summary
from magellon.errors import Cancelled
from magellon.platform.sessions.definition import Acquisition

INTERRUPTED = 130
HOME, RUNNING = "Recipe and home", "Running"


def _own_flags(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="A session, as EPU, SerialEM or Leginon left it, or just movies.", show_default=False
        ),
    ],
    home: Annotated[Path, typer.Option(metavar="DIR", help="Where results are kept.", rich_help_panel=HOME)] = Path(
        "~/magellon"
    ),
    state: Annotated[
        Path | None, make_option("Ledger and bus; on a local disk.", HOME, "DIR", "--state", default="HOME/state")
    ] = None,
    recipe: Annotated[Path | None, make_option("What to do, as TOML.", HOME, "FILE", "--recipe", default="all steps")] = None,
    settings: Annotated[
        list[str] | None, make_option("Change the recipe; may be repeated.", HOME, "step.param=value", "--set")
    ] = None,
    workers: Annotated[int | None, make_option("Tasks at a time.", RUNNING, "N", "--workers", default="one per core")] = None,
    threads: Annotated[int, typer.Option(min=1, metavar="N", help="Threads per task.", rich_help_panel=RUNNING)] = 1,
    device: Annotated[str, device_option(RUNNING)] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary for programs.", rich_help_panel=RUNNING)] = False,
) -> None: ...


def process_folder(**values: Any) -> None:
    """Process a session to its end. Interrupted and started again, it continues and repeats nothing that is finished.

    A movie that fails is reported with its reason and stops no other. The status is 1 only if the session as a whole could
    not be processed.
    """
    from magellon.platform.process import ProcessOptions, process_session

    acquisition = make_acquisition(read_optics_options(values), read_movie_options(values), values["metadata"])
    options = ProcessOptions(
        home=values["home"],
        state=values["state"],
        recipe=values["recipe"],
        settings=tuple(values["settings"] or ()),
        workers=values["workers"],
        threads=values["threads"],
        device=values["device"],
        acquisition=acquisition if acquisition != Acquisition() else None,
    )
    try:
        with watch_session() as watch:
            summary = process_session(values["folder"], options, watch)
    except Cancelled as error:
        say_error(str(error))
        raise typer.Exit(INTERRUPTED) from None
    if values["as_json"]:
        print(summary.model_dump_json(indent=1))  # noqa: T201
    else:
        print_summary(summary)
    raise typer.Exit(0 if summary.ok else 1)


_SESSION_FLAGS = [each for each in collect_flags(optics_flags, movie_flags, session_flags) if each.name != "optics_group"]
process_folder.__signature__ = inspect.Signature([*collect_flags(_own_flags), *_SESSION_FLAGS])  # type: ignore[attr-defined]
