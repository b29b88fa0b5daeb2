"""What every request and answer goes through, whatever the route: which host was meant, from which page a change comes, how
much may be sent, and what a browser may do with the answer."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import FastAPI
from pydantic import ValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from magellon.contracts import Record
from magellon.errors import BadInput
from magellon.platform.people.openid import OpenIdSettings
from magellon.platform.server.http.gate import open_gate
from magellon.platform.server.http.security import COOKIES

CHECK_HEADER = "x-magellon"
"""Whoever changes something with a cookie sends it (any value): a form of another site cannot, and its scripts may not."""
FILE = "access.json"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM = "/login"

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
        "connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class ProtectionSettings(Record):
    """What an administrator decides."""

    hosts: tuple[str, ...] = LOOPBACK
    """Names under which the server is reached; any other in `Host` is refused, so that a page of another site cannot reach a
    server on loopback under a name of its own. "*" allows all."""
    tls: bool = False
    """Whether browsers reach the server by https: cookies are then for https only."""
    proxies: tuple[str, ...] = ()
    """Addresses of proxies whose `X-Forwarded-For` is believed; it only decides whose attempts to log in are counted."""
    largest_body: int = 2 << 20
    """Bytes of one request."""
    openid: OpenIdSettings | None = None


def read_protection_settings(state: Path) -> ProtectionSettings:
    """What an administrator wrote into the state folder; without it, for one person on this machine.

    Raises:
        BadInput: the file cannot be read or says something else.
    """
    path = state / FILE
    if not path.exists():
        return ProtectionSettings()
    try:
        return ProtectionSettings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise BadInput(f"{path}: {problems}") from error


def protect(app: FastAPI, settings: ProtectionSettings) -> None:
    """Put all this around an app, answers to its own defects included. Called last: nothing can be added outside of it."""
    app.state.gate = open_gate(app.state.services.people, settings.openid, settings.tls, settings.proxies)
    app.middleware_stack = Protection(app.build_middleware_stack(), settings)


@dataclass
class Protection:
    """The middleware."""

    app: ASGIApp
    settings: ProtectionSettings
    _fixed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        strict = {"strict-transport-security": "max-age=31536000; includeSubDomains"} if self.settings.tls else {}
        self._fixed = {**_HEADERS, **strict}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # there are none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                for name, value in self._fixed.items():
                    answer.setdefault(name, value)
                answer.setdefault("cache-control", "no-store")  # unless the route knows better
            await send(message)

        refused = self._find_fault(scope, headers)
        if refused:
            await _answer_problem(*refused)(scope, receive, send_marked)
        else:
            await self.app(scope, self._bound(receive), send_marked)

    def _find_fault(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        if not is_host_allowed(headers.get("host", ""), self.settings.hosts):
            return 421, "this server does not go by that name"
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > self.settings.largest_body:
            return 413, self._too_large()
        if scope["method"] not in _SAFE:
            fault = find_foreign_origin(headers, form=scope["path"] == _FORM)
            if fault:
                return 403, fault
        return None

    def _too_large(self) -> str:
        return f"a request has at most {self.settings.largest_body} bytes"

    def _bound(self, receive: Receive) -> Receive:
        taken = 0

        async def receive_bounded() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.settings.largest_body:  # sent in parts, without saying how much it would be
                raise HTTPException(413, self._too_large())
            return message

        return receive_bounded


def is_host_allowed(host: str, allowed: Iterable[str]) -> bool:
    """Whether the name in a `Host` header is one of ours; its port does not matter."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return "*" in allowed or (name is not None and name in {each.lower() for each in allowed})


def find_foreign_origin(headers: Headers, form: bool) -> str | None:
    """Why a change is not believed to come from our own pages or from a program; None when it is.

    A browser says where a request comes from, and scripts cannot change that. Programs say nothing, and have no cookie that
    somebody could use behind their back; what comes with a cookie also needs our own header.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site not in ("same-origin", "none"):
        return "changes are made from this server's own pages"
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        return "changes are made from this server's own pages"
    if form:
        return None if site or origin else "this form is for browsers; programs use /api/v1/login or a token"
    by_cookie = any(f"{name}=" in headers.get("cookie", "") for name in COOKIES) and "authorization" not in headers
    if by_cookie and CHECK_HEADER not in headers:
        return f"what is changed with a cookie needs the header {CHECK_HEADER}"
    return None


def _answer_problem(status: int, detail: str) -> JSONResponse:
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(content, status, media_type="application/problem+json")
