"""The first command of the README, as newcomers run it: every figure within its tolerance, and class averages at the end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from magellon.io.star import read_star

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_every_figure_of_the_demo_is_within_its_tolerance(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("magellon")), "demo", str(tmp_path / "demo")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    assert "OUT" not in done.stdout
    averages = [path for path in tmp_path.rglob("class_averages.star") if path.is_file()]
    assert averages, "the demo ends with class averages"
    assert any(table.rows >= 2 for table in read_star(averages[0]).values())
