"""libfaketime: the clock on the wall of a process goes wrong, from outside, while it runs."""

import os
from collections.abc import Mapping
from pathlib import Path

_PLACES = ("/usr/lib/*/faketime", "/usr/lib/faketime", "/usr/local/lib/faketime")
SLOWEST = 1.0
"""Seconds until a process looks at its orders again."""


def find_library() -> Path | None:
    """None where it is not installed (Debian: libfaketime)."""
    found = [path for place in _PLACES for path in Path("/").glob(f"{place[1:]}/libfaketimeMT.so.1")]
    return max(found, default=None)


def prepare(orders: Path) -> Mapping[str, str]:
    """What a process is started with, so that its clock follows a file; nothing without the library.

    Only the clock on the wall: a machine's monotonic clock does not jump when somebody sets the time, and what the file
    system says of files does not change either.
    """
    library = find_library()
    if library is None:
        return {}
    if not orders.exists():
        set_clock(orders, 0)
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(orders),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_CACHE_DURATION": str(int(SLOWEST)),
        "NO_FAKE_STAT": "1",
        "PYTHONPATH": f"{Path(__file__).parent / 'clock'}{os.pathsep}{os.environ['PYTHONPATH']}",
    }


def set_clock(orders: Path, seconds: int) -> None:
    """So many seconds fast, or slow; seen as a whole or not at all."""
    partial = orders.with_suffix(".partial")
    partial.write_text(f"{seconds:+d}")
    partial.rename(orders)


def read_clock(orders: Path) -> int:
    """How many seconds fast it is set."""
    return int(orders.read_text()) if orders.exists() else 0


def clear_up(pid: int) -> None:
    """Remove what the library leaves behind in shared memory when the process is killed."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        (Path("/dev/shm") / name).unlink(missing_ok=True)
