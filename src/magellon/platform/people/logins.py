"""Logging in and out: by password, by a token, by OpenID Connect."""

import asyncio
from dataclasses import dataclass, field

from magellon.errors import MagellonError
from magellon.platform.people.accounts import (
    NewAccount,
    add_account,
    change_account,
    find_account,
    find_password,
    find_subject,
)
from magellon.platform.people.audit import record_act
from magellon.platform.people.caller import Caller, How
from magellon.platform.people.credentials import (
    BROWSER_LIFETIME,
    NewCredential,
    issue_credential,
    name_login,
    recognise_secret,
    revoke_credential,
)
from magellon.platform.people.directory import People
from magellon.platform.people.login_limit import LoginLimit
from magellon.platform.people.openid import Identity
from magellon.platform.people.passwords import LONGEST, Passwords
from magellon.platform.people.roles import Role
from magellon.platform.people.secret import hash_secret

_HASHES_AT_A_TIME = 2
"""Each takes 64 MB."""
_NOBODY = "-"


class LoginRefused(MagellonError):
    """Not recognised. The message is the same for a wrong name and a wrong password."""


class TooManyTries(MagellonError):
    """Come back after `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__(f"too many attempts to log in; try again in {wait:.0f} s")
        self.wait = wait


@dataclass
class Logins:
    """Gives out browser logins. Used from the server's event loop only."""

    people: People
    passwords: Passwords = field(default_factory=Passwords)
    limit: LoginLimit = field(default_factory=LoginLimit)
    _hashing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_HASHES_AT_A_TIME))

    async def hash_password(self, password: str) -> str:
        """Made outside the event loop: it takes long on purpose."""
        async with self._hashing:
            return await asyncio.to_thread(self.passwords.hash, password)

    async def check_password(self, name: str, password: str) -> bool:
        """Whether this is the password of that user; takes as long for a user who does not exist or is disabled."""
        with self.people.ledger.transaction() as connection:
            kept = find_password(connection, name)
        async with self._hashing:
            right = await asyncio.to_thread(self.passwords.verify, kept, password)
        if right and kept and self.passwords.is_outdated(kept):
            newer = await self.hash_password(password)
            with self.people.ledger.transaction() as connection:
                account = find_account(connection, name)
                if account and find_password(connection, name) == kept:
                    change_account(connection, account.id, password=newer)
        return right

    async def with_password(self, name: str, password: str, address: str) -> str:
        """The secret of a new browser login.

        Raises:
            LoginRefused: name or password is wrong, or the account is disabled.
            TooManyTries: for this name or from this address.
        """
        name = _storable(name)
        self._admit(name, address)
        right = await self.check_password(name, password) if len(password) <= LONGEST else False
        with self.people.ledger.transaction() as connection:
            account = find_account(connection, name) if right else None
            if account and not account.disabled:  # it may have been disabled meanwhile
                self.limit.forgive(name)
                new = NewCredential(account.id, How.BROWSER, "by password", self.people.now(), BROWSER_LIFETIME)
                record_act(connection, new.at, account.name, "log in", account.name, {"by": "password", "address": address})
                return issue_credential(connection, new)
            record_act(connection, self.people.now(), _NOBODY, "login refused", name, {"by": "password", "address": address})
        raise LoginRefused("unknown name or wrong password")

    def with_token(self, token: str, address: str) -> str:
        """Turn a token into a browser login, so that the token itself need not stay in the browser.

        Raises:
            LoginRefused: the token is nobody's, expired or revoked.
            TooManyTries: from this address.
        """
        self._admit(hash_secret(token), address)
        at = self.people.now()
        with self.people.ledger.transaction() as connection:
            found = recognise_secret(connection, token, at)
            # A browser login makes no other: a stolen one would live for ever.
            if found and found.caller.how in (How.TOKEN, How.START):
                caller = found.caller
                lifetime = min(BROWSER_LIFETIME, found.expires_at - at)
                new = NewCredential(caller.user_id, How.BROWSER, name_login(caller.how, caller.credential_id), at, lifetime)
                record_act(connection, at, caller.name, "log in", caller.name, {"by": str(caller.how), "address": address})
                return issue_credential(connection, new)
            record_act(connection, at, _NOBODY, "login refused", "", {"by": "token", "address": address})
        raise LoginRefused("this token is not valid")

    def with_identity(self, identity: Identity, address: str, newcomers: bool) -> str:
        """A browser login of whom a provider of OpenID Connect has vouched for; newcomers become viewers, if allowed.

        Raises:
            LoginRefused: nobody here has this identity, their account is disabled, or its name is another person's.
        """
        at = self.people.now()
        with self.people.ledger.transaction() as connection:
            account = find_subject(connection, identity.subject)
            reason = "is disabled" if account and account.disabled else ""
            if account is None and not newcomers:
                reason = "has no account here"
            elif account is None and find_account(connection, identity.name):
                # Never by name: whoever may choose a name at the provider would get the account.
                reason = "has the name of another account here"
            elif account is None:
                account = add_account(connection, NewAccount(identity.name, Role.VIEWER, subject=identity.subject), at)
                record_act(connection, at, account.name, "add user", account.name, {"by": "openid", "role": str(Role.VIEWER)})
            if account and not reason:
                new = NewCredential(account.id, How.BROWSER, "by openid", at, BROWSER_LIFETIME)
                record_act(connection, at, account.name, "log in", account.name, {"by": "openid", "address": address})
                return issue_credential(connection, new)
            record_act(connection, at, _NOBODY, "login refused", identity.name, {"by": "openid", "address": address})
        raise LoginRefused(f"{identity.name} {reason}; an administrator can help")

    def log_out(self, caller: Caller) -> None:
        """End the browser login a caller came with."""
        at = self.people.now()
        with self.people.ledger.transaction() as connection:
            if caller.how is How.BROWSER:
                revoke_credential(connection, caller.credential_id, caller.user_id)
            record_act(connection, at, caller.name, "log out", caller.name)
        self.people.forget()

    def _admit(self, name: str, address: str) -> None:
        wait = self.limit.admit(name, address)
        if wait > 0:
            raise TooManyTries(wait)


def _storable(name: str) -> str:
    """PostgreSQL refuses NUL and lone surrogates, which no name has anyway."""
    return name[:64].replace("\0", "?").encode(errors="replace").decode()
