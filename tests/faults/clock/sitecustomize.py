"""In every process of the plant: the clock on the wall goes wrong by as many seconds as a file says."""

import os
import time

_true_time = time.time


def _wrong_time() -> float:
    try:
        with open(os.environ["FAULT_CLOCK"]) as file:
            return _true_time() + float(file.read() or 0)
    except (OSError, ValueError):
        return _true_time()


if os.environ.get("FAULT_CLOCK"):
    time.time = _wrong_time
