"""Logging in and out. The only routes besides health that need no right."""

import html
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import Field, model_validator
from starlette.responses import HTMLResponse, RedirectResponse

from magellon.contracts import Record
from magellon.errors import Transient
from magellon.platform.people.caller import Caller, How
from magellon.platform.people.logins import LoginRefused, TooManyTries
from magellon.platform.people.openid import OpenIdRefused
from magellon.platform.people.passwords import LONGEST
from magellon.platform.people.roles import Role
from magellon.platform.server.http.gate import STATE_COOKIE, STATE_PATH, Gate, find_gate
from magellon.platform.server.http.security import authenticate, require

router = APIRouter(tags=["login"])
pages = APIRouter(include_in_schema=False)
"""For people without the web interface: plain forms."""

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Magellon</title></head><body>
<h1>Magellon</h1>{message}
<form method="post" action="/login"><p><label>Token printed at start, or an API token<br>
<input name="token" type="password" autocomplete="off" size="50"></label></p><p><button>Log in</button></p></form>
<form method="post" action="/login"><p><label>Name<br><input name="name" autocomplete="username"></label></p>
<p><label>Password<br><input name="password" type="password" autocomplete="current-password"></label></p>
<p><button>Log in</button></p></form>{openid}</body></html>"""
_OPENID = '<p><a href="/api/v1/login/openid">Log in at your organisation</a></p>'
_ARRIVED = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=/"><title>Magellon</title>'
"""A page and no redirection: a browser sends the new cookie only with what our own page asks for."""


class Login(Record):
    """Name and password, or a token."""

    name: Annotated[str, Field(max_length=64)] | None = None
    password: Annotated[str, Field(max_length=LONGEST)] | None = None
    token: Annotated[str, Field(max_length=200)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "Login":
        if (self.token is None) == (self.name is None or self.password is None):
            raise ValueError("give name and password, or a token")
        return self


class Whoami(Record):
    """The caller."""

    name: str
    role: Role
    how: How
    """By which kind of credential."""


@router.post("/login", status_code=204, responses={401: {}, 403: {}, 429: {}})
async def log_in(request: Request, login: Login) -> Response:
    """Begin a browser login: the answer sets a cookie. Programs send `Authorization: Bearer TOKEN` instead, with no login."""
    response = Response(status_code=204)
    with _refusals():
        await _open(request, response, login)
    return response


@router.post("/logout", status_code=204)
async def log_out(request: Request, caller: Annotated[Caller, Depends(require(Role.VIEWER))]) -> Response:
    """End the browser login of this request. A token stays good; revoke it instead."""
    gate = find_gate(request)
    gate.logins.log_out(caller)
    response = Response(status_code=204)
    gate.let_out(response)
    return response


@router.get("/whoami")
async def show_caller(caller: Annotated[Caller, Depends(require(Role.VIEWER))]) -> Whoami:
    """Who the server takes the caller for."""
    return Whoami(name=caller.name, role=caller.role, how=caller.how)


@router.get("/login/openid", status_code=302, response_class=RedirectResponse, responses={404: {}, 503: {}})
async def depart_to_provider(request: Request) -> Response:
    """Send a browser to the provider of OpenID Connect."""
    gate = find_gate(request)
    if gate.provider is None:
        raise HTTPException(404, "no provider of OpenID Connect is configured")
    with _refusals():
        _admit(gate, request)
        departure = await gate.provider.depart()
    response = RedirectResponse(departure.url, status_code=302)
    gate.remember_departure(response, departure.state)
    return response


@router.get("/login/openid/callback", response_class=HTMLResponse, responses={401: {}, 404: {}, 429: {}, 503: {}})
async def arrive_from_provider(
    request: Request,
    state: Annotated[str, Query(max_length=200)],
    code: Annotated[str, Query(max_length=4000)] = "",
) -> Response:
    """Where the provider sends the browser back to."""
    gate = find_gate(request)
    if gate.provider is None:
        raise HTTPException(404, "no provider of OpenID Connect is configured")
    with _refusals():
        _admit(gate, request)
        identity = await gate.provider.arrive(state, code, request.cookies.get(STATE_COOKIE, ""))
        secret = gate.logins.with_identity(identity, find_address(request), gate.provider.settings.newcomers)
    response = HTMLResponse(_ARRIVED)
    gate.let_in(response, secret)
    response.delete_cookie(STATE_COOKIE, path=STATE_PATH)
    return response


@pages.get("/login")
async def show_login(request: Request) -> HTMLResponse:
    """The forms."""
    return _page(find_gate(request))


@pages.post("/login")
async def log_in_by_form(request: Request) -> Response:
    """What the forms send. Their fields are in the body, never in an address."""
    fields = {name: values[0] for name, values in parse_qs((await request.body()).decode(errors="replace")).items()}
    response = RedirectResponse("/", status_code=303)
    try:
        await _open(request, response, Login.model_validate(fields))
    except ValueError:
        return _page(find_gate(request), "Give a token, or name and password.", 422)
    except (LoginRefused, TooManyTries) as error:
        return _page(find_gate(request), str(error), 429 if isinstance(error, TooManyTries) else 401)
    return response


async def _open(request: Request, response: Response, login: Login) -> None:
    gate, address = find_gate(request), find_address(request)
    if login.token is not None:
        secret = gate.logins.with_token(login.token.strip(), address)
    else:
        assert login.name is not None
        assert login.password is not None
        secret = await gate.logins.with_password(login.name, login.password, address)
    _end_former(request)
    gate.let_in(response, secret)


def _end_former(request: Request) -> None:
    """A login that the browser had before is not needed any more."""
    former = authenticate(request)
    if former is not None and former.how is How.BROWSER:
        find_gate(request).logins.log_out(former)


def _admit(gate: Gate, request: Request) -> None:
    address = find_address(request)
    wait = gate.logins.limit.admit(f"openid {address}", address)
    if wait > 0:
        raise TooManyTries(wait)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except TooManyTries as error:
        raise HTTPException(429, str(error), {"Retry-After": str(math.ceil(error.wait))}) from error
    except (LoginRefused, OpenIdRefused) as error:
        raise HTTPException(401, str(error), {"WWW-Authenticate": "Bearer"}) from error
    except Transient as error:
        raise HTTPException(503, str(error)) from error


def find_address(request: Request) -> str:
    """Where a request comes from: of the addresses that proxies noted, the last one that is not a proxy of ours."""
    address, proxies = request.client.host if request.client else "", find_gate(request).proxies
    noted = [each.strip() for each in request.headers.get("x-forwarded-for", "").split(",") if each.strip()]
    while address in proxies and noted:
        address = noted.pop()
    return address[:64]


def _page(gate: Gate, message: str = "", status: int = 200) -> HTMLResponse:
    shown = f"<p>{html.escape(message)}</p>" if message else ""
    return HTMLResponse(_PAGE.format(message=shown, openid=_OPENID if gate.provider else ""), status)
