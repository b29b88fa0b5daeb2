"""Work on several threads whose result does not depend on how many there are.

Each item is computed by one thread with single-threaded kernels and the results come back in order, so that every sum over
items has one fixed order.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


@contextmanager
def single_threaded_kernels() -> Iterator[None]:
    """Inside, torch computes each operation on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def map_in_order(function: Callable[[ItemT], ResultT], items: Iterable[ItemT], threads: int) -> Iterator[ResultT]:
    """`map` over up to `threads` threads; at most `threads` + 1 results wait at any time, which bounds memory."""
    if threads <= 1:
        yield from map(function, items)
        return
    # OpenMP keeps its number of threads for each thread that calls it: a new one would start with all cores.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: deque[Future[ResultT]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
