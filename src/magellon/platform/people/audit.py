"""Who did what: only ever added to."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from magellon.platform.people.redaction import redact
from magellon.platform.store.schema import audit

Detail = Mapping[str, str | int | float | bool | None]


@dataclass(frozen=True)
class Entry:
    """One act."""

    id: int
    at: float
    user: str
    action: str
    target: str
    detail: Detail


def record_act(connection: Connection, at: float, user: str, action: str, target: str, detail: Detail | None = None) -> None:
    """Add an entry, in the transaction of the act itself. Secrets in it are made unreadable."""
    clean = {key: redact(value) if isinstance(value, str) else value for key, value in (detail or {}).items()}
    values = {"at": at, "user": user[:200], "action": action[:100], "target": redact(target), "detail": clean}
    connection.execute(audit.insert().values(**values))


def list_acts(connection: Connection, before: int | None, limit: int) -> list[Entry]:
    """The newest first; `before` is the id of the last entry of the page before."""
    query = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(audit.c.id < before)
    return [Entry(row.id, row.at, row.user, row.action, row.target, row.detail) for row in connection.execute(query)]
