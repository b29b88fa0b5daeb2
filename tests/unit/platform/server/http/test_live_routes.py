"""A session's watch over HTTP: who sees how it does, who begins and ends it."""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from sqlalchemy import select

from magellon.platform.people.roles import Role
from magellon.platform.server.watching import WatchStatus
from magellon.platform.sessions.watch_settings import WatchSettings
from magellon.platform.store.schema import audit

PATH = "/sessions/1/live"


@dataclass
class FakeWatching:
    """Remembers which sessions are watched."""

    live: dict[int, WatchSettings] = field(default_factory=dict)

    def start(self, session_id: int, settings: WatchSettings) -> None:
        self.live[session_id] = settings

    def stop(self, session_id: int, why: str) -> None:
        del self.live[session_id]

    def describe(self, session_id: int) -> WatchStatus | None:
        if session_id not in self.live:
            return None
        return WatchStatus(session=session_id, taken=3, waiting=1, polled_at=2.0, trouble=None)


@pytest.fixture
def watching(site: Any) -> FakeWatching:
    made = FakeWatching()
    site.client.app.state.services = replace(site.services, watching=made)
    return made


def test_a_watch_is_begun_looked_at_and_ended(site: Any, watching: FakeWatching) -> None:
    assert site.ask("GET", PATH).status_code == 404
    answer = site.ask("PUT", PATH, Role.OPERATOR, json={"settle": 5, "until_quiet": 60})
    assert answer.json() == {"session": 1, "taken": 3, "waiting": 1, "polled_at": 2.0, "trouble": None}
    assert watching.live[1] == WatchSettings(settle=5, until_quiet=60)
    assert site.get(PATH)["waiting"] == 1
    assert site.ask("DELETE", PATH, Role.OPERATOR).status_code == 204
    assert site.ask("DELETE", PATH, Role.OPERATOR).status_code == 404
    with site.book.ledger.transaction() as connection:
        assert connection.execute(select(audit.c.action)).scalars().all() == ["watch session", "end watch"]


def test_viewers_do_not_begin_watches_and_times_must_be_possible(site: Any, watching: FakeWatching) -> None:
    assert site.ask("PUT", PATH, Role.VIEWER, json={}).status_code in (403, 404)
    assert site.ask("PUT", PATH, Role.OPERATOR, json={"settle": -1}).status_code == 422
    assert site.ask("PUT", "/sessions/77/live", Role.OPERATOR, json={}).status_code == 404
    assert watching.live == {}


@pytest.mark.slow
def test_a_new_session_may_be_live(site: Any, tmp_path: Any) -> None:
    body = {"folder": str(tmp_path / "lot"), "live": True, "watch": {"until_quiet": 30}}
    assert site.ask("POST", "/sessions", Role.OPERATOR, json=body).status_code == 201
    (submission,) = site.entrance.seen
    assert (submission.live, submission.watch.until_quiet) == (True, 30)
