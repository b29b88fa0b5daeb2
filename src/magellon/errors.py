"""The kinds of failure that readers, algorithms and backends report. The platform decides by the kind what happens next.

Any other exception is a defect: its traceback is kept, and the task is tried once more, elsewhere if there is an elsewhere.
"""


class MagellonError(Exception):
    """Base of the failures that have a kind."""


class BadInput(MagellonError, ValueError):
    """The input cannot be processed, now or ever. The message names the file, the value and the limit. Not retried."""


class Transient(MagellonError):
    """Something outside failed and may work later (full disk, busy device, vanished mount). Retried with back-off."""


class NotThere(MagellonError):
    """What was asked for does not exist: a job, a task, a session."""


class Cancelled(MagellonError):
    """A person or the platform asked the task to stop. Raised by `Context.progress`."""
