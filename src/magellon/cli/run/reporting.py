"""Run a request and say how it went: one bar, failures by name, where the files lie."""

import asyncio
from pathlib import Path

from magellon.cli.console import console, make_progress, stderr
from magellon.cli.run.damaged import SetAside
from magellon.cli.run.delivery import write_record, write_star_files
from magellon.cli.run.execution import Failed, Finished, Outcome, fill_cores, open_children, run_items
from magellon.cli.run.inputs import Item, find_items
from magellon.cli.run.request import Request
from magellon.cli.run.survey import survey_items
from magellon.io.files import make_folder

MOST_WARNINGS = 20
"""Are said; the record holds all."""


def run_request(request: Request, verbose: bool = False) -> int:
    """Compute everything asked for.

    Returns:
        The exit status: 0 when every item went well, 1 when one failed.

    Raises:
        BadInput: the request itself makes no sense; nothing was computed.
    """
    aside = SetAside()
    items = find_items(request, aside)
    make_folder(request.out)
    damaged = [Failed(each.name, "bad_input", each.reason) for each in aside.files]
    outcomes, files = asyncio.run(_compute(items, damaged, request, verbose))
    _say_end(outcomes, files, request.out)
    return 1 if any(isinstance(each, Failed) for each in outcomes) else 0


async def _compute(
    items: list[Item], damaged: list[Failed], request: Request, verbose: bool
) -> tuple[list[Outcome], list[Path]]:
    """The outcomes, and the files written about them."""
    slots = fill_cores(len(items), request.jobs, request.threads)
    async with open_children(slots) as children:
        items = await survey_items(children[0], items, request)
        with make_progress() as progress:
            total = len(items) + len(damaged)
            bar = progress.add_task(f"{request.category}/{request.backend}", total=total, note="")
            failures: list[Failed] = []
            warnings = _Warnings(request)

            def watch(outcome: Outcome) -> None:
                if isinstance(outcome, Failed):
                    failures.append(outcome)
                    _say_failure(outcome, verbose)
                else:
                    warnings.say(outcome)
                progress.update(bar, advance=1, note=f"{len(failures)} failed" if failures else "")

            for each in damaged:
                watch(each)
            outcomes = [*damaged, *await run_items(children, items, request, watch)]
        record = write_record(outcomes, request)
        return outcomes, [*await write_star_files(children[0], outcomes, request), record]


class _Warnings:
    """Says what backends warn of as it comes, but not for all of ten thousand files."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._said = 0

    def say(self, outcome: Finished) -> None:
        for warning in outcome.warnings:
            self._said += 1
            if self._said <= MOST_WARNINGS:
                _say_warning(f"{outcome.item.name}: {warning}")
            elif self._said == MOST_WARNINGS + 1:
                _say_warning(f"more warnings are listed in {self._request.category}.json")


def _say_warning(text: str) -> None:
    stderr.print(f"warning: {text}", markup=False, style="yellow", soft_wrap=True)


def _say_failure(failed: Failed, verbose: bool) -> None:
    stderr.print(f"{failed.name}: failed: {failed.message}", markup=False, style="red", soft_wrap=True)
    if verbose and failed.traceback:
        stderr.print(failed.traceback, markup=False, soft_wrap=True)
    elif failed.kind == "defect":
        stderr.print("  (a defect of the program rather than of the file; --verbose shows where)")


def _say_end(outcomes: list[Outcome], files: list[Path], out: Path) -> None:
    finished = sum(isinstance(each, Finished) for each in outcomes)
    names = ", ".join(path.name for path in files)
    console.print(f"{finished} of {len(outcomes)} done. In {out}: {names}", markup=False, soft_wrap=True)
