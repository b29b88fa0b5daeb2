"""What happens after a failure, as numbers."""

from magellon.contracts import Record


class Policy(Record):
    """Defaults are for production; tests shorten the times."""

    transient_attempts: int = 5
    transient_delay: float = 2.0
    """Seconds before the second attempt; doubled each time."""
    longest_delay: float = 60.0
    defect_attempts: int = 2
    lost_attempts: int = 3
    """Lost workers after which a task is given up: it may be what kills them."""
    beat_interval: float = 1.0
    lost_after: float = 8.0
    """Seconds without a beat after which a worker counts as lost."""
    forgotten_after: float = 10.0
    """Seconds after which a running task that its living worker no longer mentions counts as forgotten."""
    reconcile_interval: float = 60.0
    gather_interval: float = 300.0
    """Seconds between two versions of a live session's STAR files while movies are being processed."""
    gather_pause: float = 20.0
    """And while there is nothing else to do."""
    window: int = 200
    """Tasks of one backend that wait on the bus at most; order and priority are decided in the ledger."""
