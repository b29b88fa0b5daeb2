"""How a session went, in words."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from magellon.cli.console import console, make_table

if TYPE_CHECKING:
    from magellon.platform.server.report import Summary, Trouble

MOST_TROUBLES = 20
FILES = ("corrected_micrographs.star", "micrographs_ctf.star", "particles.star", "summary.json")


def print_summary(summary: "Summary") -> None:
    """Counts per step, every failure with its reason, what the filter holds, and where things lie."""
    states = ("completed", "failed", "held", "skipped", "cancelled")
    shown = [state for state in states if state == "completed" or any(getattr(step, state) for step in summary.steps)]
    table = make_table("step", *shown, numbers=tuple(shown))
    for step in summary.steps:
        table.add_row(step.step, *(str(getattr(step, state)) for state in shown))
    console.print(table)
    _print_troubles("Failed", summary.failures)
    _print_troubles("Held by the filter", summary.held)
    _print_troubles("Left out", summary.left_out)
    folder = Path(summary.folder)
    _print_classes(folder)
    files = [name for name in FILES if (folder / name).exists()]
    console.print(f"\nSession {summary.session} in {folder}: {', '.join(files) or 'no files'}", markup=False, soft_wrap=True)
    if not summary.ok:
        console.print("The session as a whole could not be processed.", style="bold red")


def _print_classes(folder: Path) -> None:
    try:
        found = json.loads((folder / "summary.json").read_bytes()).get("classification")
    except (OSError, ValueError, AttributeError):
        return  # of another form, or not written
    if not isinstance(found, dict):
        return
    best = f", the best to {found['resolution']:.1f} Å" if found.get("resolution") else ""
    pictures = sorted(folder.glob("*/class_averages.png"))
    where = f": {pictures[-1]}" if pictures else ""
    said = f"{found['count']} particles in {found['classes_used']} classes, {found['kept']} of them are kept{best}{where}"
    console.print(f"\n{said}", markup=False, soft_wrap=True)


def _print_troubles(title: str, troubles: "tuple[Trouble, ...]") -> None:
    if not troubles:
        return
    console.print(f"\n{title}:", style="bold")
    for each in troubles[:MOST_TROUBLES]:
        log = f" (log: {each.log})" if each.log and each.kind == "defect" else ""
        console.print(f"  {each.item}, {each.step}: {each.reason}{log}", markup=False, soft_wrap=True)
    if len(troubles) > MOST_TROUBLES:
        console.print(f"  and {len(troubles) - MOST_TROUBLES} more; --json lists all")
