"""How the `topaz` program of this environment is called: one argument list, no shell."""

import sys
from collections.abc import Sequence
from pathlib import Path

STAND_IN = Path(__file__).with_name("stand_in")


def build_command(arguments: Sequence[str], threads: int, python: str = sys.executable) -> list[str]:
    """`topaz ARGUMENTS` with so many threads; `env` sets the variables for this one process."""
    variables = [f"PYTHONPATH={STAND_IN}", f"OMP_NUM_THREADS={threads}", f"MKL_NUM_THREADS={threads}"]
    return ["env", *variables, str(Path(python).with_name("topaz")), *arguments]


def name_device(device: str) -> str:
    """Topaz's number of a device: -1 is the CPU."""
    if not device.startswith("cuda"):
        return "-1"
    return device.partition(":")[2] or "0"
