"""The server's own tests, run again with their ledgers on PostgreSQL: queries, pages, filters, cleaning, control."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from database import USER, Cluster

TESTS = Path(__file__).parents[1] / "unit" / "platform" / "server"
LEFT_OUT = ("test_ways_in.py",)
"""Its people lie in a file that each test copies."""
CHOSEN = ("test_events.py", "test_control.py", "test_placing.py", "test_cleaning.py", "http")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_servers_tests_pass_on_postgresql(cluster: Cluster) -> None:
    cluster.start()
    environment = {
        **os.environ,
        "PGPASSFILE": str(cluster.password_file),
        "TEST_POSTGRESQL": f"{cluster.host} {cluster.port} {USER}",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "on_postgresql", "--tb=short"]
    argv += [f"--ignore={TESTS / 'http' / name}" for name in LEFT_OUT]
    done = subprocess.run(
        [*argv, *(str(TESTS / name) for name in CHOSEN)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:]
