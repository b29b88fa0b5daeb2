"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest

# Threads that wait must not spin: on a busy machine the tests with two threads took ten times as long. Read when torch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real microscope data (MAGELLON_REAL_DATA); tests that use it skip without it."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "real"
    folder = Path(os.environ.get("MAGELLON_REAL_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}")
    return folder
