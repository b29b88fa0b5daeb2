"""Who may call a route, and which sessions they may see.

Every route says its right: `caller: Annotated[Caller, Depends(require(Role.VIEWER))]`. Routes below a session, job, task or
artefact also depend on `visible_session`, `visible_job`, `visible_task` or `visible_artefact`, which give back its id, or 404
where the caller may not see it: that something exists is not told either. Lists are narrowed by `visible_sessions`.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Path, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from magellon.platform.people.caller import Caller
from magellon.platform.people.directory import People
from magellon.platform.people.roles import Role

COOKIE, COOKIE_BY_TLS = "magellon", "__Host-magellon"
COOKIES = (COOKIE_BY_TLS, COOKIE)

Id = Annotated[int, Path(ge=1, le=2**31 - 1)]
"""A number in a path, as large as any database holds."""

_bearer = HTTPBearer(auto_error=False, description="An API token, or the token printed when the server starts.")
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="Set by POST /api/v1/login.")


def find_people(request: Request) -> People:
    people: People = request.app.state.services.people
    return people


def authenticate(request: Request) -> Caller | None:
    """Who calls; None when nobody is recognised."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        # By TLS only the cookie that a browser takes from this very host: others can be planted by a neighbour's.
        secret = request.cookies.get(COOKIE_BY_TLS if request.app.state.gate.tls else COOKIE, "")
    return find_people(request).recognise(secret.strip()) if secret else None


@dataclass(frozen=True)
class Require:
    """The dependency that `require` makes; a test reads the role of every route from it."""

    role: Role

    async def __call__(
        self,
        request: Request,
        _token: Annotated[object, Depends(_bearer)] = None,
        _session: Annotated[object, Depends(_cookie)] = None,
    ) -> Caller:
        caller = authenticate(request)
        if caller is None:
            raise HTTPException(401, "log in first, or send a valid token", {"WWW-Authenticate": "Bearer"})
        if not caller.role >= self.role:
            raise HTTPException(403, f"this needs the role {self.role}; {caller.name} is {caller.role}")
        return caller


def require(role: Role) -> Require:
    """A dependency that gives the caller if they have at least this role."""
    return Require(role)


_ANYONE = Require(Role.VIEWER)


async def visible_sessions(request: Request, caller: Annotated[Caller, Depends(_ANYONE)]) -> frozenset[int] | None:
    """The ids a list may show; None for all."""
    return find_people(request).list_visible(caller)


async def visible_session(request: Request, session_id: Id, caller: Annotated[Caller, Depends(_ANYONE)]) -> int:
    """The id of a session that exists and that the caller may see."""
    found = session_id if find_people(request).has_session(session_id) else None
    return _check(request, caller, found, f"no session {session_id}")


async def visible_job(request: Request, job_id: Id, caller: Annotated[Caller, Depends(_ANYONE)]) -> int:
    _check(request, caller, find_people(request).find_session_of_job(job_id), f"no job {job_id}")
    return job_id


async def visible_task(request: Request, task_id: Id, caller: Annotated[Caller, Depends(_ANYONE)]) -> int:
    _check(request, caller, find_people(request).find_session_of_task(task_id), f"no task {task_id}")
    return task_id


async def visible_artefact(request: Request, artefact_id: Id, caller: Annotated[Caller, Depends(_ANYONE)]) -> int:
    _check(request, caller, find_people(request).find_session_of_artefact(artefact_id), f"no artefact {artefact_id}")
    return artefact_id


def _check(request: Request, caller: Caller, session_id: int | None, missing: str) -> int:
    seen = find_people(request).list_visible(caller)
    if session_id is None or (seen is not None and session_id not in seen):
        raise HTTPException(404, missing)
    return session_id
