"""People as the server asks about them at each request: who calls, and what they see."""

import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, select

from magellon.errors import Transient
from magellon.platform.people.access import list_sessions_of
from magellon.platform.people.accounts import LOCAL, NewAccount, add_account, find_account
from magellon.platform.people.caller import Caller, How
from magellon.platform.people.credentials import (
    START_LIFETIME,
    NewCredential,
    Recognised,
    adopt_secret,
    note_use,
    recognise_secret,
    revoke_all,
)
from magellon.platform.people.roles import Role
from magellon.platform.people.secret import hash_secret
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import artefacts, jobs, sessions, tasks

_TRUSTED_FOR = 10.0
"""Seconds for which the ledger is not asked about a secret again; what this server changes counts at once."""
_AT_HAND = 2000
_USE_NOTED_EVERY = 60.0


@dataclass
class People:
    """Who is who, and who sees what. Used from the server's event loop only."""

    ledger: Ledger
    now: Callable[[], float] = time.time
    _known: "OrderedDict[str, tuple[float, Recognised]]" = field(default_factory=OrderedDict)

    def recognise(self, secret: str) -> Caller | None:
        """Whose token or browser login this is; None when it is nobody's, expired or revoked, or its owner is disabled."""
        key, at = hash_secret(secret), self.now()
        since, found = self._known.get(key, (0.0, None))
        if found is None or not 0 <= at - since < _TRUSTED_FOR:
            with self.ledger.reading() as connection:
                found = recognise_secret(connection, secret, at)
            if found is None:
                self._known.pop(key, None)
                return None
            self._note_use(found, at)
            self._known[key] = (at, found)
            while len(self._known) > _AT_HAND:
                self._known.popitem(last=False)
        return found.caller if found.expires_at > at else None

    def _note_use(self, found: Recognised, at: float) -> None:
        if at - (found.used_at or 0.0) < _USE_NOTED_EVERY:
            return
        with contextlib.suppress(Transient), self.ledger.transaction() as connection:  # a full disk keeps nobody from looking
            note_use(connection, found.caller.credential_id, at)

    def forget(self) -> None:
        """Somebody's rights have changed: ask the ledger again."""
        self._known.clear()

    def adopt_start_token(self, token: str) -> None:
        """Make the token of this start, and no earlier one, that of the local administrator."""
        at = self.now()
        with self.ledger.transaction() as connection:
            local = find_account(connection, LOCAL) or add_account(connection, NewAccount(LOCAL, Role.ADMIN), at)
            revoke_all(connection, local.id, How.START)
            new = NewCredential(local.id, How.START, "start of the server", at, START_LIFETIME)
            adopt_secret(connection, new, token)
        self.forget()

    def list_visible(self, caller: Caller) -> frozenset[int] | None:
        """Ids of the sessions a caller sees; None when it is all of them, whichever come."""
        if caller.sees_all:
            return None
        with self.ledger.reading() as connection:
            return list_sessions_of(connection, caller.user_id)

    def find_session_of_job(self, job_id: int) -> int | None:
        return self._find(select(jobs.c.session_id).where(jobs.c.id == job_id))

    def find_session_of_task(self, task_id: int) -> int | None:
        return self._find(select(jobs.c.session_id).join_from(tasks, jobs).where(tasks.c.id == task_id))

    def find_session_of_artefact(self, artefact_id: int) -> int | None:
        return self._find(select(artefacts.c.session_id).where(artefacts.c.id == artefact_id))

    def has_session(self, session_id: int) -> bool:
        return self._find(select(sessions.c.id).where(sessions.c.id == session_id)) is not None

    def _find(self, query: Select[Any]) -> int | None:
        with self.ledger.reading() as connection:
            found: int | None = connection.execute(query).scalar_one_or_none()
            return found
