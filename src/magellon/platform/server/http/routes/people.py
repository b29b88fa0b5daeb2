"""Users, their rights and tokens, who sees a session, and the audit log."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response
from pydantic import Field

from magellon.contracts import Record
from magellon.errors import BadInput
from magellon.platform.people.access import list_people_of
from magellon.platform.people.accounts import Account, NewAccount, find_account, list_accounts
from magellon.platform.people.administration import Administration
from magellon.platform.people.audit import list_acts
from magellon.platform.people.caller import Caller, How
from magellon.platform.people.credentials import list_credentials
from magellon.platform.people.passwords import LONGEST, check_password
from magellon.platform.people.roles import Role
from magellon.platform.server.http.gate import find_gate
from magellon.platform.server.http.routes.login import find_address
from magellon.platform.server.http.security import Id, find_people, require, visible_session

router = APIRouter(tags=["people"])

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._@+-]{0,63}$")]
NameInPath = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9._@+-]{0,63}$")]
Password = Annotated[str, Field(max_length=LONGEST)]
Viewer = Annotated[Caller, Depends(require(Role.VIEWER))]
Operator = Annotated[Caller, Depends(require(Role.OPERATOR))]
Admin = Annotated[Caller, Depends(require(Role.ADMIN))]
VisibleSession = Annotated[int, Depends(visible_session)]
_LONGEST_PAGE = 500


class User(Record):
    """An account."""

    name: str
    role: Role
    disabled: bool
    has_password: bool
    subject: str | None
    """Issuer and subject of OpenID Connect."""
    created_at: float


class NewUser(Record):
    """An account to be made."""

    name: Name
    role: Role = Role.VIEWER
    password: Password | None = None
    subject: Annotated[str, Field(min_length=1, max_length=400)] | None = None


class UserChange(Record):
    """What is left out stays."""

    role: Role | None = None
    disabled: bool | None = None
    password: Password | None = None


class PasswordChange(Record):
    """The old password proves that it is not somebody at an unlocked screen."""

    old: Password
    new: Password


class NewToken(Record):
    """A token to be issued."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """What it is for."""
    days: Annotated[float, Field(gt=0, le=366)] = 90.0


class IssuedToken(Record):
    """Shown this once."""

    token: str


class Token(Record):
    """A token or browser login of the caller."""

    id: int
    kind: How
    name: str
    created_at: float
    expires_at: float
    used_at: float | None
    current: bool
    """Whether this request came with it."""


class Act(Record):
    """An entry of the audit log."""

    id: int
    at: float
    user: str
    action: str
    target: str
    detail: dict[str, str | int | float | bool | None]


class Acts(Record):
    """A page of the audit log, the newest first."""

    acts: list[Act]
    next: int | None
    """`before` for the next page; null at the end."""


@router.get("/users")
def list_users(request: Request, caller: Operator) -> list[User]:
    """All accounts, by name."""
    with find_people(request).ledger.reading() as connection:
        return [_user(account) for account in list_accounts(connection)]


@router.post("/users", status_code=201, responses={409: {}})
async def add_user(request: Request, caller: Admin, new: NewUser) -> User:
    """Make an account. Without a password it is used through OpenID Connect (with its subject) or by tokens."""
    password = await _hash(request, new.name, new.password) if new.password is not None else None
    with _refusals():
        return _user(_administer(request, caller).add_user(NewAccount(new.name, new.role, password, new.subject)))


@router.patch("/users/{name}", responses={404: {}, 409: {}})
async def change_user(request: Request, caller: Admin, name: NameInPath, change: UserChange) -> User:
    """Change role or password, or lock an account out. It counts at once, for logins and tokens too."""
    acts = _administer(request, caller)
    account = _find_account(request, name)
    if name == caller.name and (change.disabled or change.role not in (None, Role.ADMIN)):
        raise HTTPException(409, "nobody takes their own rights away; another administrator can")
    password = await _hash(request, name, change.password) if change.password is not None else None
    with _refusals():
        if change.role is not None:
            account = acts.change_role(name, change.role)
        if password is not None:
            acts.change_password(name, password)
        if change.disabled is not None:
            account = acts.disable(name, change.disabled)
    return _user(_find_account(request, account.name))


@router.post("/users/{name}/tokens", status_code=201, responses={404: {}, 409: {}})
async def issue_token_for(request: Request, caller: Admin, name: NameInPath, new: NewToken) -> IssuedToken:
    """A token of another user, for a program that is to have that user's rights. It is shown once."""
    _find_account(request, name)
    with _refusals():
        return IssuedToken(token=_administer(request, caller).issue_token(name, new.name, new.days))


@router.put("/whoami/password", status_code=204, responses={403: {}, 429: {}})
async def change_own_password(request: Request, caller: Viewer, change: PasswordChange) -> Response:
    """Change one's own password; ends one's other browser logins."""
    logins = find_gate(request).logins
    wait = logins.limit.admit(caller.name, find_address(request))
    if wait > 0:
        raise HTTPException(429, f"too many attempts; try again in {wait:.0f} s")
    if not await logins.check_password(caller.name, change.old):
        raise HTTPException(403, "the old password is wrong")
    logins.limit.forgive(caller.name)
    password = await _hash(request, caller.name, change.new)
    _administer(request, caller).change_password(caller.name, password, keep=caller.credential_id)
    return Response(status_code=204)


@router.get("/tokens")
def list_tokens(request: Request, caller: Viewer) -> list[Token]:
    """The caller's own tokens and browser logins; of a token only its name is known."""
    people = find_people(request)
    with people.ledger.reading() as connection:
        found = list_credentials(connection, caller.user_id, people.now())
    return [Token(**asdict(each), current=each.id == caller.credential_id) for each in found]


@router.post("/tokens", status_code=201, responses={409: {}})
async def issue_token(request: Request, caller: Viewer, new: NewToken) -> IssuedToken:
    """A token with the caller's own rights, for a program. It is shown once."""
    if caller.how is How.TOKEN:
        raise HTTPException(403, "a token makes no other tokens: log in for that")
    with _refusals():
        return IssuedToken(token=_administer(request, caller).issue_token(caller.name, new.name, new.days))


@router.delete("/tokens/{token_id}", status_code=204, responses={404: {}})
async def revoke_token(request: Request, caller: Viewer, token_id: Id) -> Response:
    """End a token or browser login of the caller, at once."""
    if not _administer(request, caller).revoke_token(caller.name, caller.user_id, token_id):
        raise HTTPException(404, f"no token {token_id}")
    return Response(status_code=204)


@router.get("/sessions/{session_id}/people")
def list_people_of_session(request: Request, caller: Operator, session_id: VisibleSession) -> list[str]:
    """Names of the viewers who see a session; operators and administrators see it anyway."""
    with find_people(request).ledger.reading() as connection:
        return list_people_of(connection, session_id)


@router.put("/sessions/{session_id}/people/{name}", status_code=204, responses={404: {}})
async def give_session(request: Request, caller: Operator, session_id: VisibleSession, name: NameInPath) -> Response:
    """Let a viewer see a session."""
    _find_account(request, name)
    _administer(request, caller).give_session(session_id, name)
    return Response(status_code=204)


@router.delete("/sessions/{session_id}/people/{name}", status_code=204, responses={404: {}})
async def withdraw_session(request: Request, caller: Operator, session_id: VisibleSession, name: NameInPath) -> Response:
    """The reverse."""
    _find_account(request, name)
    _administer(request, caller).withdraw_session(session_id, name)
    return Response(status_code=204)


@router.get("/audit")
def list_audit(
    request: Request,
    caller: Admin,
    before: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    limit: Annotated[int, Query(ge=1, le=_LONGEST_PAGE)] = 100,
) -> Acts:
    """Who did what, the newest first."""
    with find_people(request).ledger.reading() as connection:
        found = list_acts(connection, before, limit)
    more = len(found) == limit
    acts = [Act(**{**asdict(each), "detail": dict(each.detail)}) for each in found]
    return Acts(acts=acts, next=found[-1].id if more else None)


def _administer(request: Request, caller: Caller) -> Administration:
    return Administration(find_people(request), caller.name)


async def _hash(request: Request, name: str, password: str) -> str:
    try:
        check_password(name, password)
    except BadInput as error:
        raise HTTPException(422, str(error)) from error
    return await find_gate(request).logins.hash_password(password)


def _find_account(request: Request, name: str) -> Account:
    with find_people(request).ledger.reading() as connection:
        found = find_account(connection, name)
    if found is None:
        raise HTTPException(404, f"no user {name}")
    return found


def _user(account: Account) -> User:
    values = asdict(account)
    del values["id"]
    return User(**values)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except BadInput as error:
        raise HTTPException(409, str(error)) from error
