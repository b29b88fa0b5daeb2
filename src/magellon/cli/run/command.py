"""The command `magellon run CATEGORY[/BACKEND] FILES... --out DIR`: its flags come from the backend's own parameters."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from magellon.cli.catalogue import choose_backend, read_descriptions
from magellon.cli.console import console, make_table
from magellon.cli.run.flags import find_flags, make_request
from magellon.cli.run.inputs import categories
from magellon.cli.run.options import collect_params, make_signature_parameter, read_parameters
from magellon.cli.run.reporting import run_request
from magellon.cli.run.request import Request
from magellon.contracts.description import Description

OWN_FLAGS = {
    "allow_interspersed_args": False,
    "ignore_unknown_options": True,
    "allow_extra_args": True,
    "help_option_names": [],
}
"""For commands whose flags are made from types when they run: what follows is left to them, `--help` too."""


Target = Annotated[str | None, typer.Argument(metavar="CATEGORY[/BACKEND]", show_default=False)]


def run_step(context: typer.Context, target: Target = None) -> None:
    """Run one step on plain files, with no server and no bus."""
    if target is None or target in ("-h", "--help"):
        _explain(read_descriptions())
        raise typer.Exit(0 if target else 2)
    description = choose_backend(target)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    summary = f"{description.summary or description.key} [{description.distribution}]"
    app.command(help=summary, no_args_is_help=True)(make_command(description))
    app(args=context.args, prog_name=f"magellon run {target}")


def _explain(descriptions: list[Description]) -> None:
    console.print("Usage: magellon run CATEGORY[/BACKEND] FILES... --out DIR [--param value ...]", markup=False)
    console.print("\nRun one step on plain files, with no server and no bus.\n")
    runnable = categories()
    table = make_table("step", "what it does")
    for each in descriptions:
        if each.category in runnable:
            table.add_row(each.key, each.error or each.summary)
    console.print(table)
    console.print("\n`magellon run CATEGORY --help` shows the flags of a step.", markup=False)


def make_command(description: Description, finish: Callable[[Request], None] | None = None) -> Any:
    """A function whose signature is the command's: files, optics, and one option per parameter of the backend.

    Args:
        finish: called at the end when all went well.
    """
    parameters = read_parameters(description.parameters)
    flags = find_flags(description.category)
    taken = {"--" + flag.name.replace("_", "-") for flag in flags}

    def command(**values: Any) -> None:
        request = make_request(description, values, collect_params(parameters, values))
        status = run_request(request, verbose=values["verbose"])
        if status == 0 and finish is not None:
            finish(request)
        raise typer.Exit(status)

    own = [
        make_signature_parameter(each, f"--{description.name}{each.flag[1:]}" if each.flag in taken else each.flag)
        for each in parameters
    ]
    command.__signature__ = inspect.Signature([*flags, *own])  # type: ignore[attr-defined]
    return command
