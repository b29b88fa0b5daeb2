"""Python's garbage collector, in processes that make many small records which nothing refers to in circles."""

import gc

_YOUNG, _MIDDLE, _OLD = 20_000, 50, 100


def collect_seldom() -> None:
    """Look for circles of references rarely: by default a tenth of the time of a busy server or worker goes into it."""
    gc.freeze()  # modules and what they hold stay for ever
    gc.set_threshold(_YOUNG, _MIDDLE, _OLD)
