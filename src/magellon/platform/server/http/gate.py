"""The ways in: logins, the provider of OpenID Connect if there is one, and the cookies that remember them."""

from dataclasses import dataclass

import httpx2
from fastapi import Request
from starlette.responses import Response

from magellon.platform.people.credentials import BROWSER_LIFETIME
from magellon.platform.people.directory import People
from magellon.platform.people.logins import Logins
from magellon.platform.people.openid import OpenIdProvider, OpenIdSettings
from magellon.platform.server.http.security import COOKIE, COOKIE_BY_TLS

STATE_COOKIE, STATE_PATH = "magellon-openid", "/api/v1/login/openid"
_STATE_KEPT = 600


@dataclass(frozen=True)
class Gate:
    """What the login routes work with."""

    logins: Logins
    provider: OpenIdProvider | None
    tls: bool
    proxies: tuple[str, ...] = ()

    @property
    def cookie(self) -> str:
        return COOKIE_BY_TLS if self.tls else COOKIE

    def let_in(self, response: Response, secret: str) -> None:
        """Scripts cannot read it, and other sites' requests do not carry it."""
        response.set_cookie(
            self.cookie, secret, max_age=int(BROWSER_LIFETIME), path="/", secure=self.tls, httponly=True, samesite="strict"
        )

    def let_out(self, response: Response) -> None:
        response.delete_cookie(self.cookie, path="/", secure=self.tls, httponly=True, samesite="strict")

    def remember_departure(self, response: Response, state: str) -> None:
        """Lax, since who comes back from the provider comes from another site."""
        response.set_cookie(
            STATE_COOKIE, state, max_age=_STATE_KEPT, path=STATE_PATH, secure=self.tls, httponly=True, samesite="lax"
        )


def open_gate(people: People, openid: OpenIdSettings | None, tls: bool, proxies: tuple[str, ...] = ()) -> Gate:
    provider = OpenIdProvider(openid, httpx2.AsyncClient(trust_env=True)) if openid else None
    return Gate(Logins(people), provider, tls, proxies)


def find_gate(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate
