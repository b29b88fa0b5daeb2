"""In every Python process under libfaketime: `time.sleep` without the one call that libfaketime 0.9.10 breaks.

Python sleeps until a moment of the monotonic clock; libfaketime takes it for one of the clock on the wall and answers EINVAL.
"""

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
