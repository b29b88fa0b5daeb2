"""OpenID Connect against a small provider that can also lie."""

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from magellon.errors import BadInput, Transient
from magellon.platform.people.accounts import NewAccount
from magellon.platform.people.administration import Administration
from magellon.platform.people.directory import People
from magellon.platform.people.logins import LoginRefused, Logins
from magellon.platform.people.openid import Identity, OpenIdProvider, OpenIdRefused, OpenIdSettings
from magellon.platform.people.roles import Role

ISSUER, CLIENT, BACK = "https://id.example.org/realm", "magellon", "https://magellon.example.org/api/v1/login/openid/callback"
SETTINGS = OpenIdSettings(issuer=ISSUER, client_id=CLIENT, redirect_url=BACK)


@dataclass
class FakeProvider:
    """Says who logged in, as OpenID Connect Core 1.0 describes; `claims` and `token` change what it says."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    key_id: str = "k1"
    described_issuer: str = ISSUER
    claims: dict[str, Any] = field(default_factory=dict)
    token: Callable[[str], str] = lambda token: token
    secret: str | None = None
    asked: list[str] = field(default_factory=list)
    challenges: dict[str, tuple[str, str]] = field(default_factory=dict)

    def send_back(self, url: str) -> tuple[str, str]:
        """What a person does there: state and code that their browser carries back."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert query["response_type"] == "code"
        assert (query["client_id"], query["redirect_uri"]) == (CLIENT, BACK)
        assert query["code_challenge_method"] == "S256"
        self.challenges["the-code"] = (query["code_challenge"], query["nonce"])
        return query["state"], "the-code"

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request.url.path)
        match request.url.path:
            case "/realm/.well-known/openid-configuration":
                places = {"authorization_endpoint": "auth?x=1", "token_endpoint": "token", "jwks_uri": "keys"}
                return httpx2.Response(
                    200, json={"issuer": self.described_issuer, **{name: f"{ISSUER}/{at}" for name, at in places.items()}}
                )
            case "/realm/keys":
                public = jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
                return httpx2.Response(200, json={"keys": [{**public, "kid": self.key_id, "use": "sig", "alg": "ES256"}]})
            case "/realm/token":
                return self._exchange({name: values[0] for name, values in parse_qs(request.content.decode()).items()})
        return httpx2.Response(404)

    def _exchange(self, form: dict[str, str]) -> httpx2.Response:
        challenge, nonce = self.challenges.pop(form["code"], ("", ""))
        digest = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if digest != challenge or form.get("client_secret") != self.secret:
            return httpx2.Response(400, json={"error": "invalid_grant"})
        now = int(time.time())
        said = {"iss": ISSUER, "aud": CLIENT, "sub": "42", "iat": now, "exp": now + 300, "nonce": nonce}
        said |= {"preferred_username": "Vera.K"} | self.claims
        said = {name: value for name, value in said.items() if value is not None}
        signed = jwt.encode(said, self.key, "ES256", {"kid": self.key_id})
        return httpx2.Response(200, json={"id_token": self.token(signed), "token_type": "Bearer"})


@pytest.fixture
def fake() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def provider(fake: FakeProvider) -> OpenIdProvider:
    return OpenIdProvider(SETTINGS, httpx2.AsyncClient(transport=httpx2.MockTransport(fake.answer)))


async def visit(provider: OpenIdProvider, fake: FakeProvider) -> Identity:
    departure = await provider.depart()
    assert departure.url.startswith(f"{ISSUER}/auth?x=1&")
    state, code = fake.send_back(departure.url)
    return await provider.arrive(state, code, departure.state)


def test_who_comes_back_with_a_signed_answer_is_known(provider: OpenIdProvider, fake: FakeProvider) -> None:
    assert asyncio.run(visit(provider, fake)) == Identity(f"{ISSUER} 42", "vera.k")


def test_description_and_keys_are_fetched_once(provider: OpenIdProvider, fake: FakeProvider) -> None:
    async def twice() -> None:
        await visit(provider, fake)
        await visit(provider, fake)

    asyncio.run(twice())
    assert fake.asked.count("/realm/keys") == 1
    assert fake.asked.count("/realm/.well-known/openid-configuration") == 1


def test_the_client_secret_is_read_from_a_file_of_ones_own(tmp_path: Path, fake: FakeProvider) -> None:
    path = tmp_path / "secret"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    fake.secret = "s3cret"
    settings = SETTINGS.model_copy(update={"client_secret_file": path})
    provider = OpenIdProvider(settings, httpx2.AsyncClient(transport=httpx2.MockTransport(fake.answer)))
    assert asyncio.run(visit(provider, fake)).name == "vera.k"
    path.chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600"):
        asyncio.run(visit(provider, fake))


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example.org"},
        {"aud": "another-client"},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"exp": 1},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"nonce": "of another login"},
        {"nonce": None},
        {"sub": "x" * 500},
    ],
)
def test_answers_that_are_not_for_us_now_are_refused(
    provider: OpenIdProvider, fake: FakeProvider, claims: dict[str, Any]
) -> None:
    fake.claims = claims
    with pytest.raises(OpenIdRefused):
        asyncio.run(visit(provider, fake))


def _unsigned(token: str) -> str:
    return jwt.encode(jwt.decode(token, options={"verify_signature": False}), None, "none", {"kid": "k1"})


def _signed_with_the_public_key(token: str) -> str:
    """The old attack: the public key taken for a shared secret."""
    content = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(content, "published by the provider, so that everybody knows it", "HS256", {"kid": "k1"})


def _signed_by_another(token: str) -> str:
    content = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(content, ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": "k1"})


def _changed(token: str) -> str:
    head, body, signature = token.split(".")
    content = base64.urlsafe_b64decode(body + "==").replace(b'"sub":"42"', b'"sub":"43"')
    assert b"43" in content
    return ".".join([head, base64.urlsafe_b64encode(content).rstrip(b"=").decode(), signature])


@pytest.mark.parametrize(
    "forge", [_unsigned, _signed_with_the_public_key, _signed_by_another, _changed, lambda _: "", lambda _: "a.b.c"]
)
def test_forged_answers_are_refused(provider: OpenIdProvider, fake: FakeProvider, forge: Callable[[str], str]) -> None:
    fake.token = forge
    with pytest.raises(OpenIdRefused):
        asyncio.run(visit(provider, fake))


def test_a_login_is_finished_once_by_the_browser_that_began_it_and_in_time(
    fake: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]
    client = httpx2.AsyncClient(transport=httpx2.MockTransport(fake.answer))
    provider = OpenIdProvider(SETTINGS, client, lambda: now[0])

    async def attempt(browser: str | None = None, again: bool = False, later: float = 0.0) -> None:
        departure = await provider.depart()
        state, code = fake.send_back(departure.url)
        now[0] += later
        await provider.arrive(state, code, departure.state if browser is None else browser)
        if again:
            await provider.arrive(state, code, departure.state)

    asyncio.run(attempt())
    with pytest.raises(OpenIdRefused, match="begin again"):
        asyncio.run(attempt(browser="another's state"))
    with pytest.raises(OpenIdRefused, match="begin again"):
        asyncio.run(attempt(browser=""))
    with pytest.raises(OpenIdRefused, match="begin again"):
        asyncio.run(attempt(again=True))
    with pytest.raises(OpenIdRefused, match="too long"):
        asyncio.run(attempt(later=601))


def test_new_keys_are_fetched_when_the_provider_changes_them(fake: FakeProvider) -> None:
    now = [time.time()]
    provider = OpenIdProvider(SETTINGS, httpx2.AsyncClient(transport=httpx2.MockTransport(fake.answer)), lambda: now[0])

    async def visits() -> None:
        await visit(provider, fake)
        fake.key, fake.key_id = ec.generate_private_key(ec.SECP256R1()), "k2"
        with pytest.raises(OpenIdRefused, match="does not publish"):  # not asked at each forged key, but after a minute
            await visit(provider, fake)
        now[0] += 61
        await visit(provider, fake)

    asyncio.run(visits())
    assert fake.asked.count("/realm/keys") == 2


def test_a_provider_that_is_another_or_not_there(fake: FakeProvider, provider: OpenIdProvider) -> None:
    fake.described_issuer = "https://evil.example.org"
    with pytest.raises(OpenIdRefused, match="describes itself"):
        asyncio.run(provider.depart())
    plain = SETTINGS.model_copy(update={"issuer": "http://id.example.org"})
    with pytest.raises(OpenIdRefused, match="https"):
        asyncio.run(OpenIdProvider(plain, provider.client).depart())

    def break_off(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("no route")

    away = OpenIdProvider(SETTINGS, httpx2.AsyncClient(transport=httpx2.MockTransport(break_off)))
    with pytest.raises(Transient, match="does not answer"):
        asyncio.run(away.depart())
    for content in (b"x" * (2 << 20), b"no json", b"[]"):
        odd = httpx2.MockTransport(lambda _, content=content: httpx2.Response(200, content=content))
        with pytest.raises(OpenIdRefused):
            asyncio.run(OpenIdProvider(SETTINGS, httpx2.AsyncClient(transport=odd)).depart())


def test_an_account_belongs_to_a_subject_and_never_to_a_name(
    people: People, logins: Logins, administration: Administration
) -> None:
    with pytest.raises(LoginRefused, match="no account"):
        logins.with_identity(Identity("https://id 1", "new"), "", newcomers=False)
    with pytest.raises(LoginRefused, match="another account"):  # the name of the administrator
        logins.with_identity(Identity("https://id 1", "ada"), "", newcomers=True)
    caller = people.recognise(logins.with_identity(Identity("https://id 1", "new"), "", newcomers=True))
    assert caller is not None
    assert (caller.name, caller.role) == ("new", Role.VIEWER)
    again = people.recognise(logins.with_identity(Identity("https://id 1", "renamed-there"), "", newcomers=False))
    assert again is not None
    assert again.name == "new"
    administration.disable("new")
    with pytest.raises(LoginRefused, match="disabled"):
        logins.with_identity(Identity("https://id 1", "new"), "", newcomers=True)


def test_an_administrator_enters_a_subject_beforehand(people: People, logins: Logins, administration: Administration) -> None:
    administration.add_user(NewAccount("oda", Role.OPERATOR, subject="https://id 7"))
    caller = people.recognise(logins.with_identity(Identity("https://id 7", "whatever"), "", newcomers=False))
    assert caller is not None
    assert (caller.name, caller.role) == ("oda", Role.OPERATOR)
