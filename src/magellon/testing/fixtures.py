"""Fixtures for pytest: put `pytest_plugins = ["magellon.testing.fixtures"]` into a conftest.py."""

from pathlib import Path

import pytest

from magellon.contracts import Micrograph
from magellon.simulation.session import simulate_session
from magellon.simulation.spec import SessionSpec
from magellon.testing.examples import make_disc_micrograph


@pytest.fixture
def disc_micrograph(tmp_path: Path) -> Micrograph:
    """Dark discs at `magellon.testing.examples.CENTRES`, in noise."""
    return make_disc_micrograph(tmp_path / "disc_micrograph")


@pytest.fixture(scope="session")
def simulated_session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session folder with one small movie and its truth; takes some seconds, once."""
    spec = SessionSpec(movies=1, size=512, frames=8, seed=11)
    return simulate_session(tmp_path_factory.mktemp("simulated") / "session", spec, processes=1)
