"""Run a request and say how it went: one bar, failures by name, where the files lie."""

from pathlib import Path

from magellon.cli.console import console, make_progress, stderr
from magellon.cli.run.delivery import write_record, write_star_files
from magellon.cli.run.execution import Failed, Finished, Outcome, run_items
from magellon.cli.run.inputs import find_items
from magellon.cli.run.request import Request


def run_request(request: Request, verbose: bool = False) -> int:
    """Compute everything asked for.

    Returns:
        The exit status: 0 when every item went well, 1 when one failed.

    Raises:
        BadInput: the request itself makes no sense; nothing was computed.
    """
    items = find_items(request)
    request.out.mkdir(parents=True, exist_ok=True)
    with make_progress() as progress:
        bar = progress.add_task(f"{request.category}/{request.backend}", total=len(items), note="")
        failures = 0

        def watch(outcome: Outcome) -> None:
            nonlocal failures
            if isinstance(outcome, Failed):
                failures += 1
                _say_failure(outcome, verbose)
            progress.update(bar, advance=1, note=f"{failures} failed" if failures else "")

        outcomes = run_items(items, request, watch)
    record = write_record(outcomes, request)
    stars = write_star_files(outcomes, request)
    _say_end(outcomes, [*stars, record], request.out)
    return 1 if failures else 0


def _say_failure(failed: Failed, verbose: bool) -> None:
    stderr.print(f"{failed.item.name}: failed: {failed.message}", markup=False, style="red", soft_wrap=True)
    if verbose and failed.traceback:
        stderr.print(failed.traceback, markup=False, soft_wrap=True)
    elif failed.kind == "defect":
        stderr.print("  (a defect of the program rather than of the file; --verbose shows where)")


def _say_end(outcomes: list[Outcome], files: list[Path], out: Path) -> None:
    finished = sum(isinstance(each, Finished) for each in outcomes)
    names = ", ".join(path.name for path in files)
    console.print(f"{finished} of {len(outcomes)} done. In {out}: {names}", markup=False, soft_wrap=True)
