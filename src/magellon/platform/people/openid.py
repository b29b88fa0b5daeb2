"""OpenID Connect: the authorization code flow with PKCE. What comes back is believed only with the provider's signature."""

import base64
import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
import jwt

from magellon.contracts import Record
from magellon.errors import BadInput, MagellonError, Transient

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a public key only: "none", or one with a shared secret, would let others sign."""
_PATIENCE = 600.0
"""Seconds in which a person has to come back from the provider."""
_MOST_UNDERWAY = 2000
_LARGEST_ANSWER = 1 << 20
_KEYS_AGAIN_AFTER = 60.0
_LEEWAY = 60.0


class OpenIdRefused(MagellonError):
    """The provider's answer is not to be believed, or says no."""


class OpenIdSettings(Record):
    """A provider, as an administrator enters it."""

    issuer: str
    client_id: str
    client_secret_file: Path | None = None
    """Readable by the server's user alone; without it the client is a public one, and PKCE alone protects it."""
    redirect_url: str
    """As registered: https://HOST/api/v1/login/openid/callback."""
    scopes: str = "openid profile email"
    newcomers: bool = False
    """Whether people without an account get one, as viewers who see nothing yet."""


@dataclass(frozen=True)
class Identity:
    """Whom the provider vouches for."""

    subject: str
    """Issuer and subject: unique and for ever."""
    name: str
    """What they would be called here."""


@dataclass(frozen=True)
class Departure:
    """Somebody on the way to the provider."""

    url: str
    state: str
    """Also kept in their browser: who comes back must be who left."""


@dataclass(frozen=True)
class _Underway:
    nonce: str
    verifier: str
    at: float


@dataclass
class OpenIdProvider:
    """One provider; its description and keys are fetched when first needed."""

    settings: OpenIdSettings
    client: httpx2.AsyncClient
    now: Callable[[], float] = time.time
    _description: dict[str, Any] = field(default_factory=dict)
    _keys: dict[str, jwt.PyJWK] = field(default_factory=dict)
    _keys_at: float = 0.0
    _underway: "OrderedDict[str, _Underway]" = field(default_factory=OrderedDict)

    async def depart(self) -> Departure:
        """Where to send a person who wants to log in.

        Raises:
            Transient: the provider does not answer.
            OpenIdRefused: its description is not its own.
        """
        description = await self._describe()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        self._underway[state] = _Underway(nonce, verifier, self.now())
        while len(self._underway) > _MOST_UNDERWAY:
            self._underway.popitem(last=False)
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.settings.redirect_url,
            "scope": self.settings.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": digest,
            "code_challenge_method": "S256",
        }
        address = str(description["authorization_endpoint"])
        return Departure(f"{address}{'&' if '?' in address else '?'}{urlencode(query)}", state)

    async def arrive(self, state: str, code: str, state_of_browser: str) -> Identity:
        """Who came back with a code.

        Raises:
            Transient: the provider does not answer.
            OpenIdRefused: the state is unknown, used, too old or of another browser, or the provider's answer is not right.
        """
        underway = self._underway.pop(state, None)  # once, whatever comes of it
        if underway is None or not secrets.compare_digest(state.encode(), state_of_browser.encode()):
            raise OpenIdRefused("this login was not begun here; begin again")
        if self.now() - underway.at > _PATIENCE:
            raise OpenIdRefused("this login took too long; begin again")
        description = await self._describe()
        answer = await self._exchange(str(description["token_endpoint"]), code, underway.verifier)
        claims = await self._verify(str(answer.get("id_token", "")))
        if not secrets.compare_digest(str(claims.get("nonce", "")).encode(), underway.nonce.encode()):
            raise OpenIdRefused("the provider's answer is of another login")
        return make_identity(claims)

    async def _exchange(self, address: str, code: str, verifier: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.settings.redirect_url,
            "client_id": self.settings.client_id,
            "code_verifier": verifier,
        }
        if self.settings.client_secret_file:
            form["client_secret"] = read_client_secret(self.settings.client_secret_file)
        return await self._ask("POST", address, form)

    async def _verify(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            key = await self._find_key(str(header.get("kid", "")))
            claims: dict[str, Any] = jwt.decode(
                token, key, algorithms=list(_ALGORITHMS), audience=self.settings.client_id, issuer=self.settings.issuer,
                leeway=_LEEWAY, options={"require": ["iss", "aud", "exp", "iat", "sub"]},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise OpenIdRefused(f"the provider's answer is not valid: {type(error).__name__}") from error
        if claims.get("azp", self.settings.client_id) != self.settings.client_id:
            raise OpenIdRefused("the provider's answer is meant for another client")
        return claims

    async def _find_key(self, key_id: str) -> jwt.PyJWK:
        if key_id not in self._keys and self.now() - self._keys_at > _KEYS_AGAIN_AFTER:  # providers change their keys
            description = await self._describe()
            answer = await self._ask("GET", str(description["jwks_uri"]))
            self._keys = {str(key.key_id or ""): key for key in jwt.PyJWKSet.from_dict(answer).keys}
            self._keys_at = self.now()
        if key_id not in self._keys:
            raise OpenIdRefused("the provider's answer is signed with a key it does not publish")
        return self._keys[key_id]

    async def _describe(self) -> dict[str, Any]:
        if not self._description:
            check_address(self.settings.issuer)
            found = await self._ask("GET", self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
            if found.get("issuer") != self.settings.issuer:
                raise OpenIdRefused(f"{self.settings.issuer} describes itself as {str(found.get('issuer'))[:200]!r}")
            for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
                check_address(str(found.get(name, "")))
            self._description = found
        return self._description

    async def _ask(self, method: str, address: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        try:
            async with self.client.stream(method, address, data=form, follow_redirects=False, timeout=10.0) as response:
                content = b""
                async for part in response.aiter_bytes():
                    content += part
                    if len(content) > _LARGEST_ANSWER:
                        raise OpenIdRefused(f"{address} answers more than {_LARGEST_ANSWER} bytes")
                if response.status_code != httpx2.codes.OK:
                    raise OpenIdRefused(f"{address} answers with status {response.status_code}")
                answer = httpx2.Response(200, content=content).json()
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Transient(f"the provider does not answer: {address}: {type(error).__name__}") from error
        except ValueError as error:
            raise OpenIdRefused(f"{address} does not answer with JSON") from error
        if not isinstance(answer, dict):
            raise OpenIdRefused(f"{address} does not answer with an object")
        return answer


def check_address(address: str) -> None:
    """Whether secrets may be sent there.

    Raises:
        OpenIdRefused: it is neither https nor on this machine.
    """
    parts = urlsplit(address)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or not (parts.scheme == "https" or local):
        raise OpenIdRefused(f"{address[:200]!r}: a provider is reached by https")


def make_identity(claims: dict[str, Any]) -> Identity:
    """Subject and a name that can be one here, from the claims of a checked token."""
    subject = f"{claims['iss']} {claims['sub']}"
    if len(subject) > 400 or not subject.isprintable():
        raise OpenIdRefused("the provider's subject is too long")
    wanted = str(claims.get("preferred_username") or claims.get("email") or f"user-{hash_subject(subject)}")
    name = re.sub(r"[^a-z0-9._@+-]", "-", wanted.lower()).lstrip("._@+-")[:64]
    return Identity(subject, name or f"user-{hash_subject(subject)}")


def hash_subject(subject: str) -> str:
    return hashlib.sha256(subject.encode()).hexdigest()[:12]


def read_client_secret(path: Path) -> str:
    """The secret the provider gave to this site.

    Raises:
        BadInput: the file is missing, or others can read it.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise BadInput(f"{path} can be read by others: chmod 600 it")
        return path.read_text().strip()
    except OSError as error:
        raise BadInput(f"no client secret: {error}") from error
