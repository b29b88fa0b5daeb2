"""The command `magellon import FOLDER`."""

import inspect
import json
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
from magellon.cli.console import console
from magellon.cli.importing.table import describe_session, print_session
from magellon.platform.sessions.definition import Acquisition

HOME, LIVE = "Recipe and home", "With --live"


def _own_flags(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="As EPU, SerialEM or Leginon left it, or just movies.", show_default=False)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what is found.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Go on watching the folder for more.")] = False,
    settle: Annotated[
        float,
        typer.Option(min=0, metavar="SECONDS", help="A movie is finished when unchanged for so long.", rich_help_panel=LIVE),
    ] = 10.0,
    until_quiet: Annotated[
        float | None,
        make_option("End the watch when nothing has come for so long.", LIVE, "SECONDS", "--until-quiet", default="never"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is found for programs.")] = False,
    home: Annotated[
        Path, typer.Option(metavar="DIR", help="Of the server that takes the session.", rich_help_panel=HOME)
    ] = Path("~/magellon"),
    state: Annotated[Path | None, make_option("Of that server.", HOME, "DIR", "--state", default="HOME/state")] = None,
    recipe: Annotated[Path | None, make_option("What to do, as TOML.", HOME, "FILE", "--recipe", default="all steps")] = None,
    settings: Annotated[
        list[str] | None, make_option("Change the recipe; may be repeated.", HOME, "step.param=value", "--set")
    ] = None,
) -> None: ...


def import_folder(**values: Any) -> None:
    """Show what a session's folder holds, and hand it to the running server.

    Nothing in the folder is changed. Repeated, it adds what is new. Files that cannot be read are listed, and all others are
    imported.
    """
    from magellon.platform.sessions.importing import import_session

    acquisition = make_acquisition(read_optics_options(values), read_movie_options(values), values["metadata"])
    given = acquisition if acquisition != Acquisition() else None
    folder: Path = values["folder"].expanduser().resolve()
    found = import_session(folder, given, live=values["live"])
    if values["as_json"]:
        print(json.dumps(describe_session(found), indent=1, ensure_ascii=False))  # noqa: T201
    else:
        print_session(found)
    if values["dry_run"]:
        return
    job = _hand_over(folder, given, values)
    if not values["as_json"]:
        console.print(f"Handed to the server as job {job}{', and watched' if values['live'] else ''}.", markup=False)


def _hand_over(folder: Path, given: Acquisition | None, values: dict[str, Any]) -> int:
    from magellon.platform.handing_over import hand_over
    from magellon.platform.pipeline.recipe import change_recipe, read_recipe
    from magellon.platform.server.submitting import Submission
    from magellon.platform.sessions.watch_settings import make_watch_settings
    from magellon.platform.store.home import Home

    recipe = change_recipe(read_recipe(values["recipe"]), tuple(values["settings"] or ()))
    watch = make_watch_settings(values["settle"], values["until_quiet"])
    submission = Submission(folder=str(folder), recipe=recipe, acquisition=given, alone=False, live=values["live"], watch=watch)
    return hand_over(Home.at(values["home"], values["state"]), submission)


_SESSION_FLAGS = [each for each in collect_flags(optics_flags, movie_flags, session_flags) if each.name != "optics_group"]
import_folder.__signature__ = inspect.Signature([*collect_flags(_own_flags), *_SESSION_FLAGS])  # type: ignore[attr-defined]
