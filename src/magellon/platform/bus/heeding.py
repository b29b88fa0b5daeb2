"""A cancellation that must not get lost."""

import asyncio


def heed_cancellation() -> None:
    """Raise CancelledError if the task at work was cancelled and went on all the same.

    Until Python 3.12, `asyncio.wait_for` answers a cancellation with the result that came at the same moment, and nats-py is
    full of it. A loop without end that waits for the bus asks here each time, or it would never hear that it was to stop.
    Within our own code `asyncio.timeout` serves, which has not that fault.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
