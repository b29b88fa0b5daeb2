"""Progress of a session: one live bar per step for a person, plain lines for a log file."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.progress import TaskID

from magellon.cli.console import make_progress, stderr

if TYPE_CHECKING:
    from magellon.platform.server.report import Progress, StepProgress

LINE_INTERVAL = 5.0
"""Seconds between lines, so that a night's log stays readable."""


class Watcher(Protocol):
    """What `process_session` calls with the progress."""

    def __call__(self, progress: "Progress") -> None: ...


@contextmanager
def watch_session() -> Iterator[Watcher]:
    """Bars in a terminal, lines elsewhere; both on standard error."""
    if stderr.is_terminal:
        with make_progress() as bars:
            tasks: dict[str, TaskID] = {}

            def draw(progress: "Progress") -> None:
                for step in progress.steps:
                    if step.step not in tasks:
                        tasks[step.step] = bars.add_task(step.step, total=None, note="")
                    bars.update(
                        tasks[step.step], completed=count_ended(step), total=count_all(step), note=describe(step, progress)
                    )

            yield draw
    else:
        yield LineWriter()


class LineWriter:
    """One line when something changed, at most every few seconds, and always at the end."""

    def __init__(self) -> None:
        self._last_line, self._last_time = "", 0.0

    def __call__(self, progress: "Progress") -> None:
        line = ", ".join(f"{step.step} {count_ended(step)}/{count_all(step)}{say_trouble(step)}" for step in progress.steps)
        due = progress.settled or time.monotonic() - self._last_time >= LINE_INTERVAL
        if due and line != self._last_line:
            stderr.print(line, markup=False, soft_wrap=True)
            self._last_line, self._last_time = line, time.monotonic()


def count_all(step: "StepProgress") -> int:
    return step.pending + step.running + count_ended(step)


def count_ended(step: "StepProgress") -> int:
    """Nothing more happens to these by themselves."""
    return step.completed + step.failed + step.held + step.skipped + step.cancelled


def say_trouble(step: "StepProgress") -> str:
    """What did not complete, in words: " (1 failed, 2 held)"."""
    counts = {"failed": step.failed, "held": step.held, "skipped": step.skipped, "cancelled": step.cancelled}
    words = [f"{count} {word}" for word, count in counts.items() if count]
    return f" ({', '.join(words)})" if words else ""


def describe(step: "StepProgress", progress: "Progress") -> str:
    """What stands behind a bar: the trouble, and what is being computed."""
    now = [f"{each.item} {each.fraction:.0%}" for each in progress.running if each.step == step.step]
    more = f" and {len(now) - 2} more" if len(now) > 2 else ""
    return f"{say_trouble(step).strip()} {', '.join(now[:2])}{more}".strip()
