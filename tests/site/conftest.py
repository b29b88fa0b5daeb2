"""A site in small: a private PostgreSQL cluster, NATS servers with TLS, made for the tests and gone afterwards."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from authority import Authority
from batch import Slurm, explain_absence
from database import Cluster, find_programs

sys.path.append(str(Path(__file__).parents[1] / "e2e"))  # fake sessions and what looks at homes

from fake_session import make_session, use_fake_backends
from processing import MOVIES


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


@pytest.fixture
def fake_backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Backends that compute next to nothing; the file in which they write what they began."""
    for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
    use_fake_backends(tmp_path / "diary")
    return tmp_path / "diary"


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return make_session(tmp_path / "lot", MOVIES)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """SLURM with one node of 6 cores and what it believes to be 3 GPUs."""
    absence = explain_absence()
    if absence:
        pytest.skip(absence)
    made = Slurm.start(cpus=6, gpus=3)
    yield made
    made.stop()
