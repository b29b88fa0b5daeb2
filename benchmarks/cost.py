"""What a program or a call costs: wall time, processor time, peak memory."""

import os
import resource
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Cost:
    """Totals, not per item."""

    seconds: float
    cpu_seconds: float
    peak_megabytes: float


def measure_command(argv: Sequence[str], cwd: Path, log: Path) -> Cost:
    """Run a program to its end, its output going to `log`; the cost includes the children it waited for.

    Raises:
        RuntimeError: it ended with a non-zero status; the message carries the end of the log.
    """
    start = time.perf_counter()
    with log.open("wb") as out:
        process = subprocess.Popen(list(argv), cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{argv[0]} ended with status {process.returncode}: {log.read_text(errors='replace')[-2000:]}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measure_call(function: Callable[[], T]) -> tuple[T, Cost]:
    """Call `function` in this process. The peak is the process's own so far, so an upper bound."""
    start, cpu = time.perf_counter(), time.process_time()
    result = function()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    return result, Cost(seconds, cpu_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
