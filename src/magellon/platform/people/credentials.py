"""Tokens and browser logins: given once, kept as hashes, with an end."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from magellon.errors import BadInput
from magellon.platform.people.caller import Caller, How
from magellon.platform.people.roles import Role
from magellon.platform.people.secret import hash_secret, make_secret
from magellon.platform.store.schema import credentials, users

DAY = 86400.0
BROWSER_LIFETIME = DAY
TOKEN_LIFETIME = 90 * DAY
LONGEST_LIFETIME = 366 * DAY
START_LIFETIME = 10 * 366 * DAY  # ends with the next start, in truth
_MOST = {How.TOKEN: 50, How.BROWSER: 20}


@dataclass(frozen=True)
class Credential:
    """What a person sees of a token or login of theirs."""

    id: int
    kind: How
    name: str
    created_at: float
    expires_at: float
    used_at: float | None


@dataclass(frozen=True)
class Recognised:
    """Whose credential it is, and until when."""

    caller: Caller
    expires_at: float
    used_at: float | None


@dataclass(frozen=True)
class NewCredential:
    """A token or login to be."""

    user_id: int
    kind: How
    name: str
    at: float
    lifetime: float


def issue_credential(connection: Connection, new: NewCredential) -> str:
    """A new secret of a user; nobody sees it again. Logins of long ago make room for new ones, tokens do not.

    Raises:
        BadInput: the user has too many tokens, or the name or lifetime is out of bounds.
    """
    if not 0 < len(new.name) <= 200 or not new.name.isprintable():
        raise BadInput("the name of a token has 1 to 200 printable characters")
    if not 0 < new.lifetime <= LONGEST_LIFETIME:
        raise BadInput(
            f"a token is good for at most {LONGEST_LIFETIME / DAY:.0f} days; {new.lifetime / DAY:.6g} were asked for"
        )
    connection.execute(delete(credentials).where(credentials.c.expires_at <= new.at))
    own = (credentials.c.user_id == new.user_id, credentials.c.kind == new.kind)
    earlier = connection.execute(select(credentials.c.id).where(*own).order_by(credentials.c.id)).scalars().all()
    surplus = earlier[: max(0, len(earlier) + 1 - _MOST[new.kind])]
    if surplus and new.kind is How.TOKEN:
        raise BadInput(f"a user has at most {_MOST[new.kind]} tokens; revoke one first")
    connection.execute(delete(credentials).where(credentials.c.id.in_(surplus)))
    secret = make_secret()
    adopt_secret(connection, new, secret)
    return secret


def adopt_secret(connection: Connection, new: NewCredential, secret: str) -> None:
    """Keep the hash of a secret."""
    values = {"user_id": new.user_id, "kind": str(new.kind), "name": new.name, "created_at": new.at}
    connection.execute(credentials.insert().values(hash=hash_secret(secret), expires_at=new.at + new.lifetime, **values))


def recognise_secret(connection: Connection, secret: str, at: float) -> Recognised | None:
    """Whose it is; None when it is nobody's, expired or revoked, or its owner is disabled."""
    query = (
        select(credentials, users.c.name.label("user"), users.c.role)
        .join_from(credentials, users)
        .where(credentials.c.hash == hash_secret(secret), credentials.c.expires_at > at, ~users.c.disabled)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    caller = Caller(row.user_id, row.user, Role(row.role), row.id, How(row.kind))
    return Recognised(caller, row.expires_at, row.used_at)


def note_use(connection: Connection, credential_id: int, at: float) -> None:
    connection.execute(update(credentials).where(credentials.c.id == credential_id).values(used_at=at))


def list_credentials(connection: Connection, user_id: int, at: float) -> list[Credential]:
    """Those of a user that are still good, the newest first."""
    query = select(credentials).where(credentials.c.user_id == user_id, credentials.c.expires_at > at)
    return [
        Credential(row.id, How(row.kind), row.name, row.created_at, row.expires_at, row.used_at)
        for row in connection.execute(query.order_by(credentials.c.id.desc()))
    ]


def name_login(by: How, credential_id: int) -> str:
    """What a browser login made with a token is called: it ends with the token."""
    return f"by {by} {credential_id}"


def revoke_credential(connection: Connection, credential_id: int, user_id: int) -> str | None:
    """End a token or login of a user, and the logins made with the token; its name, or None when there is no such."""
    own = (credentials.c.id == credential_id, credentials.c.user_id == user_id)
    name: str | None = connection.execute(select(credentials.c.name).where(*own)).scalar_one_or_none()
    connection.execute(delete(credentials).where(*own))
    made_with_it = credentials.c.name == name_login(How.TOKEN, credential_id)
    by_user = (credentials.c.user_id == user_id, credentials.c.kind == How.BROWSER)
    connection.execute(delete(credentials).where(*by_user, made_with_it))
    return name


def revoke_all(connection: Connection, user_id: int, *kinds: How, keep: int | None = None) -> int:
    """End those of some kinds, all but one; their number."""
    of_these = (credentials.c.user_id == user_id, credentials.c.kind.in_(kinds), credentials.c.id != (keep or 0))
    return connection.execute(delete(credentials).where(*of_these)).rowcount
