"""Which database, with which password, and what counts as being away."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from magellon.errors import BadInput
from magellon.platform.store.engines import find_database
from magellon.platform.store.ledger import Ledger, LedgerAway


def test_no_url_is_the_file_in_the_home() -> None:
    assert find_database(None, {}) is None


def test_a_password_is_not_for_the_command_line() -> None:
    for url in ("postgresql://u:secret@h/db", "postgresql://u@h/db?password=secret"):
        with pytest.raises(BadInput, match="process lists") as caught:
            find_database(url, {})
        assert "secret" not in str(caught.value)
    assert find_database(None, {"MAGELLON_DATABASE": "postgresql://u:secret@h/db"}) == "postgresql+psycopg://u:secret@h/db"


def test_a_password_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("se@cret\n")
    found = find_database("postgresql://u@h/db", {"MAGELLON_DATABASE_PASSWORD_FILE": str(tmp_path / "password")})
    assert found == "postgresql+psycopg://u:se%40cret@h/db"
    with pytest.raises(BadInput, match="No such file"):
        find_database("postgresql://u@h/db", {"MAGELLON_DATABASE_PASSWORD_FILE": str(tmp_path / "nothing")})


@pytest.mark.parametrize("url", ["mysql://u@h/db", "postgresql://h", "no url at all", "postgresql://u:secret@h:port/db"])
def test_other_urls_are_refused_without_showing_what_they_hold(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        find_database(None, {"MAGELLON_DATABASE": url})
    assert "secret" not in str(caught.value)


def test_a_locked_file_is_away_and_a_mistake_is_not(tmp_path: Path) -> None:
    ledger = Ledger.at(tmp_path / "ledger.sqlite")
    ledger.migrate()
    other = sqlite3.connect(tmp_path / "ledger.sqlite")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerAway, match="locked"), ledger.transaction() as connection:  # noqa: PT012
        connection.execute(text("PRAGMA busy_timeout=1"))
        connection.execute(text("INSERT INTO roots VALUES ('a', '{}')"))
    other.close()
    with pytest.raises(Exception, match="no such table") as caught, ledger.transaction() as connection:
        connection.execute(text("SELECT * FROM absent"))
    assert not isinstance(caught.value, LedgerAway)
    ledger.close()
