"""Run a request and say how it went: one bar, failures by name, where the files lie."""

import asyncio
from collections.abc import Callable
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
            watch = RunWatch(request, verbose, lambda done, note: progress.update(bar, completed=done, note=note))
            for each in damaged:
                watch.see_end(each)
            outcomes = [*damaged, *await run_items(children, items, request, watch)]
        record = write_record(outcomes, request)
        return outcomes, [*await write_star_files(children[0], outcomes, request), record]


class RunWatch:
    """Moves the bar, and says what fails, what backends warn of, and with `verbose` what they log."""

    def __init__(self, request: Request, verbose: bool, show: Callable[[float, str], None]) -> None:
        self._request = request
        self._verbose = verbose
        self._show = show
        self._said = 0
        self._ended = 0
        self._failed = 0
        self._parts: dict[str, float] = {}

    def see_progress(self, name: str, fraction: float, message: str) -> None:
        self._parts[name] = fraction
        self._update(message)

    def see_log(self, name: str, line: str) -> None:
        if self._verbose:
            stderr.print(f"{name}: {line}", markup=False, soft_wrap=True)

    def see_end(self, outcome: Outcome) -> None:
        self._parts.pop(outcome.item.name if isinstance(outcome, Finished) else outcome.name, None)
        self._ended += 1
        if isinstance(outcome, Failed):
            self._failed += 1
            _say_failure(outcome, self._verbose)
        else:
            self._say_warnings(outcome)
        self._update("")

    def _update(self, message: str) -> None:
        """What one item says of itself is shown while it is alone; of several, each would overwrite the others."""
        failed = f"{self._failed} failed" if self._failed else ""
        alone = message if len(self._parts) == 1 else ""
        self._show(self._ended + sum(self._parts.values()), ", ".join(filter(None, [failed, alone])))

    def _say_warnings(self, outcome: Finished) -> None:
        """As they come, but not for all of ten thousand files."""
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
