"""What people change about people: each act is one transaction with its entry in the audit log."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection

from magellon.errors import BadInput
from magellon.platform.people import access, accounts
from magellon.platform.people.accounts import Account, NewAccount, get_account
from magellon.platform.people.audit import record_act
from magellon.platform.people.caller import How
from magellon.platform.people.credentials import DAY, NewCredential, issue_credential, revoke_all, revoke_credential
from magellon.platform.people.directory import People
from magellon.platform.people.roles import Role


@dataclass(frozen=True)
class Administration:
    """Acts of one person. Passwords come as hashes: making one takes longer than an event loop can wait."""

    people: People
    by: str
    """Who acts."""

    def add_user(self, new: NewAccount) -> Account:
        """Make an account.

        Raises:
            BadInput: the name or subject is taken or not one.
        """
        with self._act() as connection:
            account = accounts.add_account(connection, new, self.people.now())
            self._record(connection, "add user", account.name, role=str(account.role))
            return account

    def change_role(self, name: str, role: Role) -> Account:
        """Give another role, at once also to their logins and tokens.

        Raises:
            BadInput: there is no such user, or nobody would be left to administer.
        """
        with self._act() as connection:
            account = get_account(connection, name)
            if role is not Role.ADMIN:
                _keep_an_admin(connection, account)
            accounts.change_account(connection, account.id, role=str(role))
            self._record(connection, "change role", name, role=str(role), before=str(account.role))
            return get_account(connection, name)

    def change_password(self, name: str, hashed: str, keep: int | None = None) -> None:
        """Set a password; ends all their browser logins but one. Tokens stay.

        Raises:
            BadInput: there is no such user.
        """
        with self._act() as connection:
            account = get_account(connection, name)
            accounts.change_account(connection, account.id, password=hashed)
            ended = revoke_all(connection, account.id, How.BROWSER, keep=keep)
            self._record(connection, "change password", name, logins_ended=ended)

    def disable(self, name: str, disabled: bool = True) -> Account:
        """Lock an account out: logins end, tokens are revoked for good; or let it in again.

        Raises:
            BadInput: there is no such user, or nobody would be left to administer.
        """
        with self._act() as connection:
            account = get_account(connection, name)
            if disabled:
                _keep_an_admin(connection, account)
                revoke_all(connection, account.id, How.BROWSER, How.TOKEN)
            accounts.change_account(connection, account.id, disabled=disabled)
            self._record(connection, "disable user" if disabled else "enable user", name)
            return get_account(connection, name)

    def issue_token(self, name: str, label: str, days: float) -> str:
        """A token with the rights of a user, to be shown once.

        Raises:
            BadInput: there is no such user, they have too many, or it is to last too long.
        """
        with self._act() as connection:
            account = get_account(connection, name)
            if account.disabled:
                raise BadInput(f"user {name} is disabled")
            secret = issue_credential(connection, NewCredential(account.id, How.TOKEN, label, self.people.now(), days * DAY))
            self._record(connection, "issue token", name, label=label, days=days)
            return secret

    def revoke_token(self, user: str, user_id: int, credential_id: int) -> bool:
        """End a token or login; False when the user has no such."""
        with self._act() as connection:
            label = revoke_credential(connection, credential_id, user_id)
            if label is not None:
                self._record(connection, "revoke token", user, label=label)
            return label is not None

    def give_session(self, session_id: int, name: str) -> None:
        """Let a user see a session.

        Raises:
            BadInput: there is no such user.
        """
        with self._act() as connection:
            account = get_account(connection, name)
            if access.give_session(connection, session_id, account.id):
                self._record(connection, "give session", name, session=session_id)

    def withdraw_session(self, session_id: int, name: str) -> None:
        """The reverse.

        Raises:
            BadInput: there is no such user.
        """
        with self._act() as connection:
            account = get_account(connection, name)
            if access.withdraw_session(connection, session_id, account.id):
                self._record(connection, "withdraw session", name, session=session_id)

    @contextmanager
    def _act(self) -> Iterator[Connection]:
        with self.people.ledger.transaction() as connection:
            yield connection
        self.people.forget()

    def _record(self, connection: Connection, action: str, target: str, **detail: str | float) -> None:
        record_act(connection, self.people.now(), self.by, action, target, detail)


def _keep_an_admin(connection: Connection, account: Account) -> None:
    governs = account.role is Role.ADMIN and not account.disabled
    if governs and not accounts.count_others_who_govern(connection, account.id):
        raise BadInput(f"{account.name} is the only administrator; make another one first")
