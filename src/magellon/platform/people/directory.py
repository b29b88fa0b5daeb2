"""People as the server asks about them."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from magellon.platform.people.caller import Caller, How
from magellon.platform.people.roles import Role
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import access, artefacts, credentials, jobs, sessions, tasks, users


def hash_secret(secret: str) -> str:
    """What is kept of a token. It is random and long, so that a plain hash is enough."""
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


@dataclass
class People:
    """Who is who, and who sees what. Used from the server's event loop only."""

    ledger: Ledger
    now: Callable[[], float] = time.time

    def recognise(self, secret: str) -> Caller | None:
        """Whose token or browser session this is; None when it is nobody's, expired or revoked, or its owner is disabled."""
        query = (
            select(credentials, users.c.name.label("user"), users.c.role)
            .join_from(credentials, users)
            .where(credentials.c.hash == hash_secret(secret), credentials.c.expires_at > self.now(), ~users.c.disabled)
        )
        with self.ledger.transaction() as connection:
            row = connection.execute(query).one_or_none()
        return Caller(row.user_id, row.user, Role(row.role), row.id, How(row.kind)) if row else None

    def list_visible(self, caller: Caller) -> frozenset[int] | None:
        """Ids of the sessions a caller sees; None when it is all of them, whichever come."""
        if caller.sees_all:
            return None
        with self.ledger.transaction() as connection:
            query = select(access.c.session_id).where(access.c.user_id == caller.user_id)
            return frozenset(connection.execute(query).scalars())

    def find_session_of_job(self, job_id: int) -> int | None:
        return self._find(select(jobs.c.session_id).where(jobs.c.id == job_id))

    def find_session_of_task(self, task_id: int) -> int | None:
        return self._find(select(jobs.c.session_id).join_from(tasks, jobs).where(tasks.c.id == task_id))

    def find_session_of_artefact(self, artefact_id: int) -> int | None:
        return self._find(select(artefacts.c.session_id).where(artefacts.c.id == artefact_id))

    def has_session(self, session_id: int) -> bool:
        return self._find(select(sessions.c.id).where(sessions.c.id == session_id)) is not None

    def _find(self, query: Select[Any]) -> int | None:
        with self.ledger.transaction() as connection:
            found: int | None = connection.execute(query).scalar_one_or_none()
            return found
