"""A site's own bus: TLS, credentials of every kind, a cluster that loses one of three servers."""

import asyncio
import base64
import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import nkeys
import pytest
from authority import Authority
from servers import NatsServer, Place, make_server

from magellon.contracts.task import Started
from magellon.errors import BadInput, Transient
from magellon.platform.bus.access import find_bus
from magellon.platform.bus.configuration import BusAddress, find_free_port
from magellon.platform.bus.connection import BUS_ERRORS, connect_bus, publish_durably
from magellon.platform.bus.pull import Puller
from magellon.platform.bus.streams import EVENTS, LEDGER_CONSUMER, TASKS, ensure_streams

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MAGELLON_NATS"):
            monkeypatch.delenv(name)


def write_secret(path: Path, text: str) -> Path:
    path.write_text(f"{text}\n")
    path.chmod(0o600)
    return path


def make_user() -> tuple[str, str]:
    """Seed and public key of a user."""
    return make_key(nkeys.PREFIX_BYTE_USER)


def make_key(prefix: int) -> tuple[str, str]:
    seed = nkeys.encode_seed(os.urandom(32), prefix)
    return seed.decode(), nkeys.from_seed(bytearray(seed)).public_key.decode()


def sign_claims(seed: str, subject: str, kind: str, name: str) -> str:
    """A JSON web token as the `nsc` program makes them."""

    def encode(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    key = nkeys.from_seed(bytearray(seed.encode()))
    more = {"user": {"subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}}, "operator": {}}
    unlimited = dict.fromkeys(
        ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "mem_storage", "disk_storage"), -1
    )
    unlimited |= {"wildcards": True, "streams": -1, "consumer": -1}
    nats = {**({"limits": unlimited} if kind == "account" else more[kind]), "type": kind, "version": 2}
    claims = {"jti": name, "iat": int(time.time()), "iss": key.public_key.decode(), "name": name, "sub": subject, "nats": nats}
    head = encode(json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode())
    text = f"{head}.{encode(json.dumps(claims).encode())}"
    return f"{text}.{encode(key.sign(text.encode()))}"


async def try_streams(address: BusAddress) -> None:
    client = await connect_bus(address, "test", patience=4)
    try:
        await ensure_streams(client)
        info = await client.jetstream().stream_info(TASKS)
        assert (info.config.num_replicas or 1) == 1
    finally:
        await client.close()


def check_access(folder: Path, authority: Authority, access: str, credentials: Path) -> None:
    server = make_server(Place(folder), authority, access)
    server.start()
    try:
        address = find_bus(f"tls://127.0.0.1:{server.port}", authority.file, credentials)
        assert address is not None
        asyncio.run(try_streams(address))
    finally:
        server.kill()


def test_user_and_password(tmp_path: Path, authority: Authority) -> None:
    access = 'authorization { users: [{ user: magellon, password: "open:sesame" }] }'
    check_access(tmp_path, authority, access, write_secret(tmp_path / "credentials", "magellon:open:sesame"))


def test_key(tmp_path: Path, authority: Authority) -> None:
    seed, public = make_user()
    access = f"authorization {{ users: [{{ nkey: {public} }}] }}"
    check_access(tmp_path, authority, access, write_secret(tmp_path / "user.nk", seed))


def test_creds(tmp_path: Path, authority: Authority) -> None:
    operator, operator_public = make_key(nkeys.PREFIX_BYTE_OPERATOR)
    account, account_public = make_key(nkeys.PREFIX_BYTE_ACCOUNT)
    user, user_public = make_user()
    access = (
        f"operator: {sign_claims(operator, operator_public, 'operator', 'facility')}\n"
        f"resolver: MEMORY\nresolver_preload: {{ {account_public}: {sign_claims(operator, account_public, 'account', 'em')} }}"
    )
    token = sign_claims(account, user_public, "user", "magellon")
    creds = (
        f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user}\n------END USER NKEY SEED------\n"
    )
    server = make_server(Place(tmp_path), authority, access)
    server.configuration = re.sub(r"jetstream.*\n", "", server.configuration)  # it would need a system account, too

    async def connect(credentials: Path) -> None:
        address = find_bus(f"tls://127.0.0.1:{server.port}", authority.file, credentials)
        assert address is not None
        client = await connect_bus(address, "test", patience=5)
        assert client.is_connected
        await client.flush()
        await client.close()

    server.start()
    try:
        asyncio.run(connect(write_secret(tmp_path / "magellon.creds", creds)))
        with pytest.raises(Transient, match=r"(?i)authorization"):
            asyncio.run(connect(write_secret(tmp_path / "other.creds", creds.replace(user, make_user()[0]))))
    finally:
        server.kill()


@pytest.fixture
def server(tmp_path: Path, authority: Authority) -> Iterator[NatsServer]:
    made = make_server(Place(tmp_path), authority, 'authorization { token: "a-long-token" }')
    made.start()
    yield made
    made.kill()


def test_token_and_certificates_are_checked(
    server: NatsServer, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"tls://127.0.0.1:{server.port}"

    def attempt(ca: Path | None, credentials: Path | None) -> None:
        address = find_bus(url, ca, credentials)
        assert address is not None
        assert "a-long-token" not in repr(address)
        asyncio.run(try_streams(address))

    right = write_secret(tmp_path / "token", "a-long-token")
    attempt(authority.file, right)
    monkeypatch.setenv("MAGELLON_NATS_TOKEN", "a-long-token")
    attempt(authority.file, None)
    monkeypatch.delenv("MAGELLON_NATS_TOKEN")
    with pytest.raises(Transient, match=r"(?i)authorization"):
        attempt(authority.file, write_secret(tmp_path / "wrong", "another-token"))
    with pytest.raises(Transient, match=r"(?i)certificate verify failed"):
        attempt(None, right)
    right.chmod(0o644)
    with pytest.raises(BadInput, match="others can read it"):
        attempt(authority.file, right)


def test_a_cluster_may_lose_one_of_three(tmp_path: Path, authority: Authority) -> None:
    routes = [find_free_port() for _ in range(3)]
    access = 'authorization { token: "a-long-token" }'
    servers = [make_server(Place(tmp_path), authority, access, routes, number) for number in range(3)]
    urls = ",".join(f"tls://127.0.0.1:{server.port}" for server in servers)
    address = find_bus(urls, authority.file, write_secret(tmp_path / "token", "a-long-token"))
    assert address is not None
    for server in servers:
        server.start()

    async def work() -> None:
        client = await connect_bus(address, "test", patience=30)
        deadline = time.monotonic() + 30
        while True:  # the three find each other and elect a leader
            try:
                await ensure_streams(client)
                break
            except BUS_ERRORS:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.2)
        info = await client.jetstream(timeout=5).stream_info(EVENTS)
        assert info.config.num_replicas == 3
        assert client.connected_url is not None
        nearest = next(server for server in servers if server.port == client.connected_url.port)
        for number in range(40):
            if number == 20:
                nearest.kill()
            event = Started(task=number, attempt=1, worker="w", incarnation="i")
            await asyncio.wait_for(publish_durably(client, "event.started", event, f"id{number}"), 60)
        seen: set[int] = set()
        puller = Puller(client, EVENTS)
        deadline = time.monotonic() + 30
        while len(seen) < 40 and time.monotonic() < deadline:
            for message in await puller.take_many(LEDGER_CONSUMER, wait=1):
                seen.add(Started.model_validate_json(message.data).task)
                await message.ack()
        assert seen == set(range(40))
        await client.close()

    try:
        asyncio.run(work())
    finally:
        for server in servers:
            server.kill()
