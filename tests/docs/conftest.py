"""What the documentation's examples run on: a small simulated session, made once."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A shell's environment with `magellon` and `python` of this installation first, and a home of its own."""
    home = tmp_path_factory.mktemp("home")
    path = os.pathsep.join([sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return {**os.environ, "PATH": path, "HOME": str(home), "COLUMNS": "160", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def small_session(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """Two movies of 12 frames, 1024 x 1024."""
    folder = tmp_path_factory.mktemp("simulated") / "session"
    command = [
        "magellon",
        "simulate",
        str(folder),
        "--movies",
        "2",
        "--size",
        "1024",
        "--frames",
        "12",
        "--defocus",
        "12000,20000",
    ]
    clean = ["--carbon", "0", "--contamination", "0", "--beam-edge", "0"]
    subprocess.run([*command, *clean], check=True, env=environment)
    return folder
