"""Plugins over HTTP: who may do what, and what is answered; with the real logic on a ledger, without workers."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from nats.errors import NoRespondersError
from sqlalchemy import select

from magellon.contracts.description import Description
from magellon.platform.people.roles import Role
from magellon.platform.server.plugins import Plugins
from magellon.platform.server.settings import Setting, read_settings
from magellon.platform.server.watch import Watch
from magellon.platform.store.schema import audit


class Deaf:
    """A bus on which nobody answers."""

    async def request(self, *arguments: Any, **more: Any) -> None:
        raise NoRespondersError


@pytest.fixture
def plugins_site(site: Any, catalogue: dict[str, Description], monkeypatch: pytest.MonkeyPatch) -> Any:
    other = catalogue["fft/fake"].model_copy(update={"name": "other", "distribution": "Other_Spectra 2.1"})
    known = {**catalogue, "fft/other": other}
    monkeypatch.setattr("magellon.platform.server.plugins.read_catalogue", lambda place: known)
    dispatcher: Any = SimpleNamespace(book=site.book, client=Deaf(), watch=Watch(8.0))
    site.client.app.state.services = replace(site.services, plugins=Plugins(dispatcher))
    return site


def test_everybody_sees_plugins_with_their_health(plugins_site: Any) -> None:
    found = {plugin["name"]: plugin for plugin in plugins_site.get("/plugins", Role.VIEWER)["items"]}
    assert found["other-spectra"]["version"] == "2.1"
    [backend] = found["other-spectra"]["backends"]
    assert (backend["key"], backend["enabled"], backend["live"], backend["healthy"]) == ("fft/other", True, False, False)
    assert backend["reason"] == "no worker serves it"
    assert plugins_site.get("/plugins/other-spectra", Role.VIEWER) == found["other-spectra"]
    assert plugins_site.ask("GET", "/plugins/nothing").status_code == 404
    assert plugins_site.ask("GET", "/plugins/No..thing").status_code == 422


def test_viewers_are_not_told_what_workers_said(plugins_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"name": "other-spectra-1", "plugin": "other-spectra", "condition": "waiting", "reason": "secret/session7.mrc"}

    class Launcher(Deaf):
        async def request(self, *arguments: Any, **more: Any) -> Any:
            return SimpleNamespace(data=json.dumps({"answer": {"programs": [said], "replicas": {"other-spectra": 1}}}).encode())

    monkeypatch.setattr(Deaf, "request", Launcher.request)
    told = plugins_site.get("/plugins/other-spectra", Role.OPERATOR)
    assert "crashed and is started again (0 restarts): secret/session7.mrc" in told["reason"]
    for path in ("/plugins", "/plugins/other-spectra"):
        told = plugins_site.get(path, Role.VIEWER)
        assert "secret" not in json.dumps(told)
        assert "other-spectra-1 crashed and is started again (0 restarts)" in json.dumps(told)


@pytest.mark.parametrize(
    ("method", "path", "body", "role"),
    [
        ("POST", "/plugins/other-spectra/disable", None, Role.ADMIN),
        ("POST", "/plugins/other-spectra/stop", None, Role.ADMIN),
        ("PUT", "/plugins/other-spectra/replicas", {"replicas": 2}, Role.ADMIN),
        ("POST", "/backends/fft/other/prefer", None, Role.ADMIN),
        ("POST", "/backends/fft/other/enable", None, Role.ADMIN),
        ("GET", "/plugins/other-spectra/log", None, Role.OPERATOR),
    ],
)
def test_changes_take_an_administrator(plugins_site: Any, method: str, path: str, body: Any, role: Role) -> None:
    for caller in Role:
        status = plugins_site.ask(method, path, caller, json=body).status_code
        assert (status == 403) == (caller < role), f"{caller}: {status}"
        assert status < 500


def test_disabling_and_preferring_is_kept_and_noted(plugins_site: Any) -> None:
    assert plugins_site.ask("POST", "/backends/fft/other/prefer").json() == {"backends": ["fft/other"]}
    assert plugins_site.ask("POST", "/plugins/other-spectra/disable").json() == {"backends": ["fft/other"]}
    answer = plugins_site.ask("POST", "/backends/fft/other/prefer")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "fft/other is disabled; enable it first"
    with plugins_site.book.ledger.transaction() as connection:
        assert read_settings(connection) == {"fft/other": Setting(enabled=False, preferred=False)}
        noted = connection.execute(select(audit.c.action, audit.c.target).order_by(audit.c.id)).all()
    assert [tuple(row) for row in noted][-2:] == [("prefer backend", "fft/other"), ("disable", "other-spectra")]


def test_without_a_launcher_nothing_is_scaled(plugins_site: Any) -> None:
    answer = plugins_site.ask("PUT", "/plugins/other-spectra/replicas", json={"replicas": 2})
    assert answer.status_code == 422
    assert "no launcher answers" in answer.json()["detail"]
    assert plugins_site.ask("PUT", "/plugins/other-spectra/replicas", json={"replicas": 65}).status_code == 422


def test_logs_come_in_pieces(plugins_site: Any) -> None:
    assert plugins_site.ask("GET", "/plugins/other-spectra/log").status_code == 404
    log = plugins_site.book.home.logs / "worker.log"
    log.write_text("one\n[fft/fake] of another plugin\n[fft/other] two\n")
    piece = plugins_site.get("/plugins/other-spectra/log", Role.OPERATOR)
    assert piece["lines"] == ["[fft/other] two"], "of the general workers' log, only what is said of its backends"
    with log.open("a") as file:
        file.write("[fft/other] three\n")
    assert plugins_site.get(f"/plugins/other-spectra/log?after={piece['next']}")["lines"] == ["[fft/other] three"]
    assert plugins_site.ask("GET", "/plugins/other-spectra/log?source=../ledger.sqlite").status_code == 404
