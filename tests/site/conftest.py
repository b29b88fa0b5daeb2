"""A site in small: a private PostgreSQL cluster, NATS servers with TLS, made for the tests and gone afterwards."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from authority import Authority
from database import Cluster, find_programs

sys.path.append(str(Path(__file__).parents[1] / "e2e"))  # fake sessions and what looks at homes


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running PostgreSQL of its own, with a password."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    made = Cluster.create(programs)
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def database(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty database, without the password, which is where PostgreSQL's programs look for it."""
    monkeypatch.setenv("PGPASSFILE", str(cluster.password_file))
    for name in ("MAGELLON_DATABASE", "MAGELLON_DATABASE_PASSWORD_FILE"):
        monkeypatch.delenv(name, raising=False)
    cluster.start()
    return cluster.make_database()


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Makes certificates."""
    return Authority.create(tmp_path_factory.mktemp("certificates"))
