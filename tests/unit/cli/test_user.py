"""`magellon user`, on a home without a server and through the server's routes."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from magellon.cli import app
from magellon.cli.user.registry import LedgerRegistry, Registry, ServerRegistry, open_registry
from magellon.errors import BadInput
from magellon.platform.people.administration import Administration
from magellon.platform.people.audit import list_acts
from magellon.platform.people.caller import Caller
from magellon.platform.people.directory import People
from magellon.platform.people.logins import Logins
from magellon.platform.people.roles import Role
from magellon.platform.people.secret import make_secret
from magellon.platform.server.http.protection import ProtectionSettings, protect
from magellon.platform.server.http.routes import login, people
from magellon.platform.store.home import Home
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import sessions
from people_cast import make_quick_passwords

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One for all tests: each command opens a ledger, and the first makes it."""
    return Home.at(tmp_path_factory.mktemp("home"))


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("magellon.cli.user.registry.Passwords", make_quick_passwords)


def run(home: Home, *words: str, given: str | None = None) -> str:
    result = CliRunner().invoke(app, ["user", words[0], "--home", str(home.root), *words[1:]], input=given)
    if isinstance(result.exception, BadInput):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_accounts_are_made_changed_and_listed(home: Home, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{PASSWORD}\n")
    run(home, "add", "vera", "--password-file", str(tmp_path / "secret"))
    run(home, "add", "otto", "--role", "operator", "--password-file", "-", given=f"{PASSWORD}\n")
    run(home, "add", "robot", "--no-password")
    run(home, "add", "oda", "--subject", "https://id.example.org 7")
    run(home, "role", "robot", "operator")
    run(home, "disable", "otto")
    lines = [line.split() for line in run(home, "list").splitlines()]
    assert lines[1:] == [
        ["oda", "viewer", "OpenID", "Connect"],
        ["otto", "operator", "password", "disabled"],
        ["robot", "operator", "token"],
        ["vera", "viewer", "password"],
    ]
    run(home, "enable", "otto")
    assert "disabled" not in run(home, "list")
    with pytest.raises(BadInput, match="already"):
        run(home, "add", "vera", "--no-password")
    with pytest.raises(BadInput, match="obvious"):
        run(home, "password", "vera", "--password-file", "-", given="veras-long-secret\n")
    with pytest.raises(BadInput, match="no terminal"):
        run(home, "password", "vera")
    with pytest.raises(BadInput, match="no session"):
        run(home, "give", "vera", "nothing")


def test_a_token_is_printed_alone_and_works(home: Home) -> None:
    run(home, "add", "script", "--role", "operator", "--no-password")
    token = run(home, "token", "script", "--for", "nightly export", "--days", "7")
    assert re.fullmatch(r"mgl_\S{43}\n", token)
    ledger = Ledger.at(home.ledger)
    try:
        caller = People(ledger).recognise(token.strip())
        with ledger.reading() as connection:
            act = list_acts(connection, None, 1)[0]
    finally:
        ledger.close()
    assert isinstance(caller, Caller)
    assert (caller.name, caller.role) == ("script", Role.OPERATOR)
    assert act.user.endswith("at the command line")
    assert act.detail == {"label": "nightly export", "days": 7.0}


def test_a_server_that_cannot_be_found_is_not_worked_around(home: Home) -> None:
    with open_registry(home), pytest.raises(BadInput, match="does not say where its server is"):
        run(home, "list")


@pytest.fixture(params=["ledger", "server"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """The same ledger reached in both ways; one session."""
    ledger = Ledger.at(tmp_path / "ledger.sqlite")
    ledger.migrate()
    with ledger.transaction() as connection:
        connection.execute(sessions.insert().values(name="grid7", folder="/data", definition={}))
    directory = People(ledger)
    if request.param == "ledger":
        yield LedgerRegistry(Administration(directory, "test"))
    else:
        directory.adopt_start_token(token := make_secret())
        served = FastAPI()
        served.state.services = SimpleNamespace(people=directory)
        served.include_router(login.router, prefix="/api/v1")
        served.include_router(people.router, prefix="/api/v1")

        @served.get("/api/v1/sessions")
        def list_sessions(name: str) -> dict[str, list[dict[str, object]]]:
            return {"items": [each for each in ({"id": 1, "name": "grid7"},) if name in str(each["name"])]}

        protect(served, ProtectionSettings())
        served.state.gate = replace(served.state.gate, logins=Logins(directory, make_quick_passwords()))
        headers = {"Authorization": f"Bearer {token}"}
        yield ServerRegistry(TestClient(served, base_url="http://localhost/api/v1", headers=headers))
    ledger.close()


def test_server_and_ledger_do_the_same(registry: Registry) -> None:
    registry.add("vera", Role.VIEWER, PASSWORD, None)
    registry.change_role("vera", Role.OPERATOR)
    registry.change_password("vera", "another long secret")
    assert registry.issue_token("vera", "script", 1).startswith("mgl_")
    registry.give("vera", "grid7", True)
    registry.give("vera", "grid7", False)
    registry.disable("vera", True)
    [vera] = [each for each in registry.list_users() if each["name"] == "vera"]
    assert (vera["role"], vera["disabled"], vera["has_password"]) == ("operator", True, True)
    for attempt in (
        lambda: registry.add("vera", Role.ADMIN, None, None),
        lambda: registry.add("../x", Role.ADMIN, None, None),
        lambda: registry.change_role("nobody", Role.ADMIN),
        lambda: registry.change_password("vera", "short"),
        lambda: registry.give("vera", "grid", True),
        lambda: registry.give("nobody/../vera", "grid7", True),
        lambda: registry.issue_token("vera", "x", 1000),
    ):
        with pytest.raises(BadInput):
            attempt()
