"""The command: ask every part, print one table, and say by the exit status whether something will fail."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from magellon.cli.console import console
from magellon.cli.doctor.compute import (
    examine_backends,
    examine_gpu,
    examine_machine,
    examine_package,
    examine_programs,
)
from magellon.cli.doctor.filesystem import examine_filesystem
from magellon.cli.doctor.finding import Finding
from magellon.cli.doctor.services import examine_bus, examine_database

DEFAULT_HOME = Path("~/magellon")
MARKS = {"ok": "[green]ok     [/]", "absent": "[yellow]absent [/]", "problem": "[bold red]PROBLEM[/]"}


def run_doctor(
    home: Annotated[Path, typer.Option(help="Where results would be kept.")] = DEFAULT_HOME,
    state: Annotated[Path | None, typer.Option(help="Where the state would be kept.", show_default="HOME/state")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """What this machine has, what it lacks, and what that means. Status 1 if something will fail."""
    findings = examine(home.expanduser(), (state or home / "state").expanduser())
    if as_json:
        print(json.dumps([asdict(each) for each in findings], indent=1, ensure_ascii=False))  # noqa: T201
    else:
        show_findings(findings)
    raise typer.Exit(1 if any(each.state == "problem" for each in findings) else 0)


def examine(home: Path, state: Path) -> list[Finding]:
    """Everything, in the order of the report."""
    return [
        *examine_package(),
        *examine_machine(),
        *examine_filesystem(home, state),
        *examine_bus(),
        *examine_database(state),
        *examine_gpu(),
        *examine_backends(),
        *examine_programs(),
    ]


def show_findings(findings: list[Finding]) -> None:
    """Grouped by area, with a closing line that counts the problems."""
    area = ""
    for each in findings:
        if each.area != area:
            area = each.area
            console.print(area, style="bold")
        text = f"{each.subject}: {each.found}" + (f" ({each.meaning})" if each.meaning else "")
        console.print(f"  {MARKS[each.state]} {escape(text)}", soft_wrap=True)
    problems = sum(each.state == "problem" for each in findings)
    absent = sum(each.state == "absent" for each in findings)
    if problems:
        console.print(f"\n{problems} problem{'s' if problems > 1 else ''}: see above what each means.")
    else:
        console.print(f"\nAll well: the whole pipeline can run here ({absent} optional things are absent).")
