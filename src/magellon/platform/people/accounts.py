"""Accounts: who people are and what they may do."""

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, update

from magellon.errors import BadInput
from magellon.platform.people.roles import Role
from magellon.platform.store.schema import users

LOCAL = "local"
"""The account behind the token printed at start."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")


@dataclass(frozen=True)
class Account:
    """A person, or a program with rights of its own."""

    id: int
    name: str
    role: Role
    disabled: bool
    has_password: bool
    subject: str | None
    """Issuer and subject of OpenID Connect."""
    created_at: float


@dataclass(frozen=True)
class NewAccount:
    """An account to be made; without a password or subject it can only be used by tokens."""

    name: str
    role: Role
    password: str | None = None
    """Its hash."""
    subject: str | None = None


def check_name(name: str) -> str:
    """A name that reads the same everywhere: in a path, a log, a list.

    Raises:
        BadInput: it is something else.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name[:80]!r} is no user name: lower-case letters, digits and . _ @ + -, at most 64, first a letter or digit"
        )
    return name


def add_account(connection: Connection, new: NewAccount, at: float) -> Account:
    """Make an account.

    Raises:
        BadInput: the name is taken or not one, or another account has the subject.
    """
    check_name(new.name)
    if new.subject is not None and not (0 < len(new.subject) <= 400 and new.subject.isprintable()):
        raise BadInput("the subject of OpenID Connect has 1 to 400 printable characters")
    if find_account(connection, new.name):
        raise BadInput(f"there is a user {new.name} already")
    if new.subject and find_subject(connection, new.subject):
        raise BadInput(f"another user has the subject {new.subject}")
    values = {"name": new.name, "role": str(new.role), "password": new.password, "subject": new.subject}
    connection.execute(users.insert().values(**values, disabled=False, created_at=at))
    found = find_account(connection, new.name)
    assert found is not None
    return found


def find_account(connection: Connection, name: str) -> Account | None:
    row = connection.execute(select(users).where(users.c.name == name)).one_or_none()
    return _account(row) if row else None


def find_subject(connection: Connection, subject: str) -> Account | None:
    row = connection.execute(select(users).where(users.c.subject == subject)).one_or_none()
    return _account(row) if row else None


def get_account(connection: Connection, name: str) -> Account:
    """The account of a name.

    Raises:
        BadInput: there is none.
    """
    account = find_account(connection, name) if _NAME.fullmatch(name) else None
    if account is None:
        raise BadInput(f"there is no user {name[:80]!r}")
    return account


def list_accounts(connection: Connection) -> list[Account]:
    return [_account(row) for row in connection.execute(select(users).order_by(users.c.name))]


def find_password(connection: Connection, name: str) -> str | None:
    """The hash of an account that may log in with a password."""
    query = select(users.c.password).where(users.c.name == name, ~users.c.disabled)
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def change_account(connection: Connection, user_id: int, **values: Any) -> None:
    """Set columns of an account: role, disabled, password (its hash), subject."""
    connection.execute(update(users).where(users.c.id == user_id).values(**values))


def count_others_who_govern(connection: Connection, user_id: int) -> int:
    """Administrators besides this one who can log in."""
    query = select(users.c.id).where(users.c.role == Role.ADMIN, ~users.c.disabled, users.c.id != user_id)
    return len(connection.execute(query).all())


def _account(row: Row[Any]) -> Account:
    return Account(row.id, row.name, Role(row.role), row.disabled, row.password is not None, row.subject, row.created_at)
