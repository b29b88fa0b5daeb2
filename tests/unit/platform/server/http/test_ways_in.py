"""Login, logout, users, tokens and the protection around every request, through an app with these routes alone."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from fastapi.testclient import TestClient

from magellon.errors import BadInput
from magellon.platform.people.administration import Administration
from magellon.platform.people.directory import People
from magellon.platform.people.logins import Logins
from magellon.platform.people.roles import Role
from magellon.platform.people.secret import make_secret
from magellon.platform.server.http.protection import ProtectionSettings, protect, read_protection_settings
from magellon.platform.server.http.routes import login, people
from magellon.platform.server.http.security import require, visible_session, visible_sessions
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import sessions
from people_cast import PASSWORD, Clock, add_cast, make_quick_passwords

HOST = "http://localhost"
WRITE = {"X-Magellon": "1"}


@pytest.fixture(scope="module")
def fresh_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sessions, and the cast."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    ledger = Ledger.at(path)
    ledger.migrate()
    with ledger.transaction() as connection:
        for name in ("first", "second"):
            connection.execute(sessions.insert().values(name=name, folder=f"/data/{name}", definition={}))
    add_cast(Administration(People(ledger), "test"), make_quick_passwords())
    ledger.close()
    return path


@pytest.fixture
def directory(tmp_path: Path, fresh_ledger: Path) -> Iterator[People]:
    ledger = Ledger.at(Path(shutil.copy(fresh_ledger, tmp_path)))
    yield People(ledger, Clock())
    ledger.close()


def make_app(directory: People, **settings: Any) -> FastAPI:
    app = FastAPI()
    app.state.services = SimpleNamespace(people=directory)
    app.include_router(login.router, prefix="/api/v1")
    app.include_router(people.router, prefix="/api/v1")
    app.include_router(login.pages)

    @app.get("/api/v1/sessions/{session_id}")
    def get_session(session_id: Annotated[int, Depends(visible_session)]) -> int:
        return session_id

    @app.get("/api/v1/sessions")
    def list_sessions(seen: Annotated[frozenset[int] | None, Depends(visible_sessions)]) -> list[int] | None:
        return None if seen is None else sorted(seen)

    @app.post("/api/v1/echo", dependencies=[Depends(require(Role.VIEWER))])
    async def echo(request: Request) -> int:
        return len(await request.body())

    protect(app, ProtectionSettings(**settings))
    app.state.gate = replace(app.state.gate, logins=Logins(directory, make_quick_passwords()))
    return app


@pytest.fixture
def client(directory: People) -> TestClient:
    return TestClient(make_app(directory), base_url=HOST)


@pytest.fixture
def bearer(directory: People) -> dict[str, dict[str, str]]:
    """Headers of programs, by user."""
    acts = Administration(directory, "test")
    return {name: {"Authorization": f"Bearer {acts.issue_token(name, 'test', 1)}"} for name in ("vera", "otto", "ada")}


def log_in(client: TestClient, name: str = "vera", password: str = PASSWORD) -> str:
    answer = client.post("/api/v1/login", json={"name": name, "password": password}, headers=WRITE)
    assert answer.status_code == 204, answer.text
    return answer.cookies["magellon"]


def test_without_rights_nothing_is_told(client: TestClient) -> None:
    for path in ("whoami", "users", "tokens", "audit", "sessions", "sessions/1", "sessions/99"):
        answer = client.get(f"/api/v1/{path}")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    for odd in ("", "Bearer", "Bearer ", "Basic dmVyYTp4", f"Bearer {make_secret()}", "Bearer " + "x" * 9000, "Bearer \xff"):
        assert client.get("/api/v1/whoami", headers={"Authorization": odd.encode("latin-1")}).status_code == 401


def test_a_login_is_a_cookie_that_scripts_and_other_sites_do_not_get(client: TestClient) -> None:
    answer = client.post("/api/v1/login", json={"name": "vera", "password": PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert answer.content == b""
    assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/", "max-age=86400"))
    assert "domain" not in cookie
    assert client.get("/api/v1/whoami").json() == {"name": "vera", "role": "viewer", "how": "browser"}


def test_by_tls_the_cookie_is_for_https_and_this_host_alone(directory: People) -> None:
    client = TestClient(make_app(directory, tls=True), base_url="https://localhost")
    answer = client.post("/api/v1/login", json={"name": "vera", "password": PASSWORD})
    assert answer.headers["set-cookie"].startswith("__Host-magellon=")
    assert "secure" in answer.headers["set-cookie"].lower()
    assert "max-age=31536000" in answer.headers["strict-transport-security"]
    assert client.get("/api/v1/whoami").status_code == 200
    planted = {"Cookie": f"magellon={answer.cookies['__Host-magellon']}"}
    assert TestClient(client.app, base_url="https://localhost").get("/api/v1/whoami", headers=planted).status_code == 401


def test_a_login_does_not_go_on_with_a_secret_that_was_there_before(client: TestClient) -> None:
    client.cookies.set("magellon", "planted-by-somebody")
    first = log_in(client)
    assert first != "planted-by-somebody"
    client.cookies.clear()
    client.cookies.set("magellon", first)
    second = log_in(client, "otto")
    client.cookies.clear()
    assert client.get("/api/v1/whoami", headers={"Cookie": f"magellon={first}"}).status_code == 401  # ended by the second
    assert client.get("/api/v1/whoami", headers={"Cookie": f"magellon={second}"}).json()["name"] == "otto"


def test_after_logging_out_the_cookie_is_worth_nothing(client: TestClient) -> None:
    secret = log_in(client)
    assert client.post("/api/v1/logout", headers=WRITE).status_code == 204
    assert client.get("/api/v1/whoami", headers={"Cookie": f"magellon={secret}"}).status_code == 401


def test_the_forms_log_in_with_a_token_or_a_password(client: TestClient, directory: People) -> None:
    directory.adopt_start_token(token := make_secret())
    page = client.get("/login")
    assert 'name="token" type="password"' in page.text
    origin = {"Origin": HOST}
    answer = client.post("/login", data={"token": f" {token}\n"}, headers=origin, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert client.get("/api/v1/whoami").json() == {"name": "local", "role": "admin", "how": "browser"}
    wrong = client.post("/login", data={"name": "<b>x", "password": "y"}, headers=origin)
    assert (wrong.status_code, "unknown name or wrong password" in wrong.text, "<b>" in wrong.text) == (401, True, False)
    assert client.post("/login", data={"name": "x"}, headers=origin).status_code == 422
    assert client.post("/login", content=b"\xff\xfe%ff=%00", headers=origin).status_code == 422
    assert client.post("/login", data={"token": token}).status_code == 403  # not from a browser's page
    client.cookies.clear()
    assert client.get(f"/api/v1/whoami?token={token}").status_code == 401  # never in an address


@pytest.mark.parametrize(
    "foreign",
    [
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example.org"},
        {"Origin": "null"}, {"Origin": "http://localhost.evil.example.org"}, {"Origin": "http://localhost:81"}, {"Origin": ""},
    ],
)  # fmt: skip
def test_other_sites_change_nothing(client: TestClient, foreign: dict[str, str]) -> None:
    log_in(client)
    for path, body in (("tokens", {"name": "theirs"}), ("logout", None), ("login", {"name": "otto", "password": PASSWORD})):
        assert client.post(f"/api/v1/{path}", json=body, headers={**WRITE, **foreign}).status_code == 403
    assert client.post("/login", data={"name": "otto", "password": PASSWORD}, headers=foreign).status_code == 403
    assert client.get("/api/v1/whoami").json()["name"] == "vera"


def test_a_cookie_alone_changes_nothing(client: TestClient, bearer: dict[str, dict[str, str]]) -> None:
    log_in(client)
    assert client.post("/api/v1/tokens", json={"name": "x"}).status_code == 403
    assert (
        client.post("/api/v1/tokens", json={"name": "x"}, headers={**WRITE, "Sec-Fetch-Site": "same-origin"}).status_code == 201
    )
    assert client.post("/api/v1/tokens", json={"name": "x"}, headers={**WRITE, "Origin": HOST}).status_code == 201
    assert client.post("/api/v1/echo", content=b"x", headers=bearer["otto"]).status_code == 200  # a program


@pytest.mark.parametrize(
    "host", ["evil.example.org", "localhost.evil.example.org", "", "localhost@evil.example.org", "[", "127.0.0.2"]
)
def test_a_name_that_is_not_ours_is_refused(client: TestClient, bearer: dict[str, dict[str, str]], host: str) -> None:
    answer = client.get("/api/v1/whoami", headers={**bearer["ada"], "Host": host})
    assert answer.status_code == 421
    assert "ada" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:80", "[::1]:8000"])
def test_our_names_are_taken_with_any_port(client: TestClient, bearer: dict[str, dict[str, str]], host: str) -> None:
    assert client.get("/api/v1/whoami", headers={**bearer["ada"], "Host": host}).status_code == 200


def test_large_requests_are_cut_off_whether_they_say_so_or_not(directory: People, bearer: dict[str, dict[str, str]]) -> None:
    client = TestClient(make_app(directory, largest_body=1000), base_url=HOST)
    assert client.post("/api/v1/echo", content=b"x" * 1000, headers=bearer["vera"]).json() == 1000
    assert client.post("/api/v1/echo", content=b"x" * 1001, headers=bearer["vera"]).status_code == 413
    parts = (b"x" * 400 for _ in range(4))
    assert client.post("/api/v1/echo", content=parts, headers=bearer["vera"]).status_code == 413


def test_every_answer_has_the_strict_headers(client: TestClient) -> None:
    for answer in (
        client.get("/login"),
        client.get("/api/v1/whoami"),
        client.get("/nothing"),
        client.get("/", headers={"Host": "x"}),
    ):
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = client.options("/api/v1/tokens", headers={"Origin": "https://a.b", "Access-Control-Request-Method": "POST"})
    assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_viewers_see_their_sessions_and_others_do_not_exist(client: TestClient, bearer: dict[str, dict[str, str]]) -> None:
    def look(name: str) -> list[int]:
        return [client.get(f"/api/v1/sessions/{each}", headers=bearer[name]).status_code for each in (1, 2, 3)]

    assert look("otto") == [200, 200, 404]
    assert look("vera") == [404, 404, 404]
    assert client.put("/api/v1/sessions/2/people/vera", headers=bearer["vera"]).status_code == 403
    assert client.put("/api/v1/sessions/2/people/vera", headers=bearer["otto"]).status_code == 204
    assert look("vera") == [404, 200, 404]
    assert client.get("/api/v1/sessions", headers=bearer["vera"]).json() == [2]
    assert client.get("/api/v1/sessions/2/people", headers=bearer["otto"]).json() == ["vera"]
    assert client.put("/api/v1/sessions/2/people/nobody", headers=bearer["otto"]).status_code == 404
    assert client.put("/api/v1/sessions/9/people/vera", headers=bearer["otto"]).status_code == 404
    assert client.delete("/api/v1/sessions/2/people/vera", headers=bearer["otto"]).status_code == 204
    assert look("vera") == [404, 404, 404]
    hidden = client.get("/api/v1/sessions/2", headers=bearer["vera"]).json()
    missing = client.get("/api/v1/sessions/7", headers=bearer["vera"]).json()
    assert str(hidden).replace("2", "N") == str(missing).replace("7", "N")


def test_administrators_manage_users(client: TestClient, bearer: dict[str, dict[str, str]]) -> None:
    ada = bearer["ada"]
    new = {"name": "nina", "role": "operator", "password": "a quite long secret"}
    made = client.post("/api/v1/users", json=new, headers=ada)
    assert (made.status_code, made.json()["has_password"], "password" in made.json()) == (201, True, False)
    assert client.post("/api/v1/users", json=new, headers=ada).status_code == 409
    assert client.post("/api/v1/users", json={**new, "name": "n", "password": "short"}, headers=ada).status_code == 422
    assert client.post("/api/v1/users", json={**new, "name": "N/"}, headers=ada).status_code == 422
    log_in(client, "nina", "a quite long secret")
    changed = client.patch("/api/v1/users/nina", json={"role": "viewer", "disabled": True}, headers=ada).json()
    assert (changed["role"], changed["disabled"]) == ("viewer", True)
    assert client.get("/api/v1/whoami").status_code == 401
    assert client.patch("/api/v1/users/nobody", json={}, headers=ada).status_code == 404
    assert client.patch("/api/v1/users/ada", json={"role": "viewer"}, headers=ada).status_code == 409
    assert [user["name"] for user in client.get("/api/v1/users", headers=ada).json()] == ["ada", "nina", "otto", "vera"]
    for name in ("vera", "otto"):
        assert client.patch(f"/api/v1/users/{name}", json={"role": "admin"}, headers=bearer[name]).status_code == 403
        assert client.post("/api/v1/users", json=new, headers=bearer[name]).status_code == 403
        assert client.get("/api/v1/audit", headers=bearer[name]).status_code == 403
    assert client.get("/api/v1/users", headers=bearer["vera"]).status_code == 403


def test_people_change_their_own_password_with_the_old_one(client: TestClient) -> None:
    other = TestClient(client.app, base_url=HOST)
    log_in(client)
    log_in(other)
    change = {"old": PASSWORD, "new": "another long secret"}
    assert client.put("/api/v1/whoami/password", json={**change, "old": "wrong"}, headers=WRITE).status_code == 403
    assert client.put("/api/v1/whoami/password", json={**change, "new": "short"}, headers=WRITE).status_code == 422
    assert client.put("/api/v1/whoami/password", json=change, headers=WRITE).status_code == 204
    assert client.get("/api/v1/whoami").status_code == 200
    assert other.get("/api/v1/whoami").status_code == 401


def test_people_have_tokens_of_their_own(client: TestClient, bearer: dict[str, dict[str, str]]) -> None:
    log_in(client)
    issued = client.post("/api/v1/tokens", json={"name": "my script", "days": 2}, headers=WRITE).json()["token"]
    listed = client.get("/api/v1/tokens").json()
    assert issued not in str(listed)
    assert [(each["kind"], each["name"], each["current"]) for each in listed] == [
        ("token", "my script", False), ("browser", "by password", True), ("token", "test", False),
    ]  # fmt: skip
    mine = {"Authorization": f"Bearer {issued}"}
    assert client.get("/api/v1/whoami", headers=mine).json()["how"] == "token"
    assert client.post("/api/v1/tokens", json={"name": "more"}, headers=mine).status_code == 403
    number = listed[0]["id"]
    assert client.delete(f"/api/v1/tokens/{number}", headers=bearer["otto"]).status_code == 404  # not theirs
    assert client.delete(f"/api/v1/tokens/{number}", headers=WRITE).status_code == 204
    assert client.get("/api/v1/whoami", headers=mine).status_code == 401


def test_guessing_is_slowed_down_over_http(client: TestClient) -> None:
    wrong = {"name": "vera", "password": "wrong"}
    answers = [client.post("/api/v1/login", json=wrong) for _ in range(12)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
    assert 0 < int(answers[-1].headers["retry-after"]) <= 10
    assert client.post("/login", data=wrong, headers={"Origin": HOST}).status_code == 429
    log_in(client, "otto")


def test_behind_a_proxy_attempts_are_counted_by_who_is_before_it(directory: People) -> None:
    def guess(client: TestClient, number: int, forwarded: str) -> int:
        wrong = {"name": f"user{number}", "password": "wrong"}
        return client.post("/api/v1/login", json=wrong, headers={"X-Forwarded-For": forwarded}).status_code

    behind = TestClient(make_app(directory, proxies=("testclient",)), base_url=HOST)
    assert {guess(behind, each, "6.6.6.6, 192.0.2.1") for each in range(30)} == {401}
    assert guess(behind, 99, "7.7.7.7, 192.0.2.1") == 429  # what comes before is said by whoever attempts
    assert guess(behind, 99, "6.6.6.6, 192.0.2.2") == 401
    plain = TestClient(make_app(directory), base_url=HOST)
    assert [guess(plain, each, f"192.0.2.{each}") for each in range(31)] == [401] * 30 + [429]


def test_the_audit_log_tells_who_did_what_in_pages(client: TestClient, bearer: dict[str, dict[str, str]]) -> None:
    log_in(client)
    for session in (1, 2):
        client.put(f"/api/v1/sessions/{session}/people/vera", headers=bearer["otto"])
    first = client.get("/api/v1/audit?limit=2", headers=bearer["ada"]).json()
    assert [(act["user"], act["action"], act["detail"]) for act in first["acts"]] == [
        ("otto", "give session", {"session": 2}), ("otto", "give session", {"session": 1}),
    ]  # fmt: skip
    second = client.get(f"/api/v1/audit?limit=1&before={first['next']}", headers=bearer["ada"]).json()
    assert [(act["user"], act["action"]) for act in second["acts"]] == [("vera", "log in")]
    assert PASSWORD not in client.get("/api/v1/audit", headers=bearer["ada"]).text


def test_settings_of_a_site_are_read_from_its_state(tmp_path: Path) -> None:
    assert read_protection_settings(tmp_path) == ProtectionSettings()
    openid = {"issuer": "https://id.example.org", "client_id": "m", "redirect_url": "https://m.example.org/back"}
    (tmp_path / "access.json").write_text(json.dumps({"hosts": ["m.example.org"], "tls": True, "openid": openid}))
    found = read_protection_settings(tmp_path)
    assert (found.hosts, found.tls, found.openid and found.openid.newcomers) == (("m.example.org",), True, False)
    (tmp_path / "access.json").write_text('{"host": "m"}')
    with pytest.raises(BadInput, match=r"access.json: host: "):
        read_protection_settings(tmp_path)
