"""The benchmark of load in its small form: everybody is answered while a job runs, and all workers are known."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_everybody_is_answered_while_a_job_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "load", "--quick", "--out", str(tmp_path), "--work", str(tmp_path / "work")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert [row["program"].rpartition(", ")[2] for row in rows] == ["full speed", "busy site"]
    for row in rows:
        seen = row["accuracy"]
        assert row["items"] == 1000
        assert seen["workers"] == 50
        assert seen["answers"] > 0
        assert seen["not 200"] == 0
        assert seen["events told"] >= 1000  # to at least one of the twenty who follow
        assert row["peak_megabytes"] < 300
