"""`magellon backends`: which steps there are, what computes them, and with which parameters."""

import json
from typing import Annotated

import typer
from rich.markup import escape

from magellon.cli.catalogue import read_descriptions
from magellon.cli.console import console, make_table
from magellon.cli.reference import format_reference
from magellon.cli.run.options import read_parameters
from magellon.contracts.description import Description
from magellon.errors import BadInput


def list_backends(
    target: Annotated[
        str | None, typer.Argument(metavar="[CATEGORY[/BACKEND]]", help="Only these.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: descriptions with JSON schemas.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="The reference page.")] = False,
) -> None:
    """Categories, backends, and their parameters with units, defaults and limits."""
    descriptions = [each for each in read_descriptions() if target is None or target in (each.category, each.key)]
    if target is not None and not descriptions:
        raise BadInput(f"no backend of {target} is installed")
    if as_json:
        print(json.dumps([each.model_dump(mode="json") for each in descriptions], indent=1, ensure_ascii=False))  # noqa: T201
    elif as_markdown:
        print(format_reference(descriptions), end="")  # noqa: T201
    else:
        for description in descriptions:
            _show(description)


def _show(description: Description) -> None:
    console.print(f"{description.key}", style="bold", end="  ", markup=False)
    console.print(f"version {description.version}, from {description.distribution or 'no package'}", style="dim", markup=False)
    if description.error:
        console.print(f"  cannot be used: {description.error}", style="red", markup=False)
        return
    if description.summary:
        console.print(f"  {description.summary}", markup=False)
    for requirement in description.requirements:
        console.print(f"  needs {requirement}", markup=False)
    table = make_table("  parameter", "default", "limits", "what it is")
    for each in read_parameters(description.parameters):
        allowed = "|".join(map(str, each.choices)) or each.limits
        default = each.default_text if each.default is not None else f"- {each.unit}".strip()
        table.add_row(f"  {each.name}", escape(default), allowed, escape(each.description))
    if table.row_count:
        console.print(table, markup=False)
    console.print()
