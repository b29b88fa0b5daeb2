"""What people do, noted for the audit log."""

import time

from magellon.platform.people.audit import Detail, record_act
from magellon.platform.people.caller import Caller
from magellon.platform.server.http.services import Services


def note_act(served: Services, caller: Caller, action: str, target: object, detail: Detail | None = None) -> None:
    """Add an entry to the audit log; what was counted before it is counted anew."""
    served.counter.forget()
    with served.book.ledger.transaction() as connection:
        record_act(connection, time.time(), caller.name, action, str(target), detail)
