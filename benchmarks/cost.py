"""What a program or a call costs: wall time, processor time, peak memory."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
LAUNCHER = Path(__file__).with_name("launch.py")


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
    with tempfile.TemporaryDirectory(prefix="magellon-cost-") as folder, log.open("wb") as out:
        report = Path(folder) / "cost.json"
        command = [sys.executable, "-S", "-E", str(LAUNCHER), str(report), *argv]
        status = subprocess.call(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        if status != 0:
            raise RuntimeError(f"{argv[0]} ended with status {status}: {log.read_text(errors='replace')[-2000:]}")
        measured = json.loads(report.read_text())
    return Cost(measured["seconds"], measured["cpu_seconds"], measured["peak_kilobytes"] / 1024)


def measure_call(function: Callable[[], T]) -> tuple[T, Cost]:
    """Call `function` in this process. The peak is the process's own so far, so an upper bound."""
    start, cpu = time.perf_counter(), time.process_time()
    result = function()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    return result, Cost(seconds, cpu_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
