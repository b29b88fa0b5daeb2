"""What the kill tests and the tests of a site use is used here too."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "site"))

from database import Cluster, find_programs
from hosts import Hosts, explain_absence


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A PostgreSQL of this test's own."""
    programs = find_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    made = Cluster.create(programs)
    monkeypatch.setenv("PGPASSFILE", str(made.password_file))
    try:
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Two hosts with a cable between them; this process is on the near one."""
    absence = explain_absence()
    if absence:
        pytest.skip(absence)
    made = Hosts.create()
    try:
        with made.staying(made.near):
            yield made
    finally:
        made.remove()
