"""A ledger with its tables, and a clock that stands still until it is moved."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from magellon.platform.people.administration import Administration
from magellon.platform.people.directory import People
from magellon.platform.people.logins import Logins
from magellon.platform.people.passwords import Passwords
from magellon.platform.store.ledger import Ledger
from magellon.platform.store.schema import sessions
from people_cast import Clock, add_cast, make_quick_passwords


@pytest.fixture(scope="session")
def quick_passwords() -> Passwords:
    return make_quick_passwords()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def fresh_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sessions and nobody. Made once: migrations take longer than the tests."""
    path = tmp_path_factory.mktemp("ledger") / "ledger.sqlite"
    ledger = Ledger.at(path)
    ledger.migrate()
    with ledger.transaction() as connection:
        for name in ("first", "second"):
            connection.execute(sessions.insert().values(name=name, folder=f"/data/{name}", definition={}))
    ledger.close()
    return path


@pytest.fixture
def people(tmp_path: Path, fresh_ledger: Path, clock: Clock) -> Iterator[People]:
    ledger = Ledger.at(Path(shutil.copy(fresh_ledger, tmp_path)))
    yield People(ledger, clock)
    ledger.close()


@pytest.fixture
def administration(people: People) -> Administration:
    return Administration(people, "test")


@pytest.fixture
def logins(people: People, administration: Administration, quick_passwords: Passwords) -> Logins:
    """With one user of each role: vera, otto and ada, all with the same password."""
    add_cast(administration, quick_passwords)
    return Logins(people, quick_passwords)
