"""RELION's programs as an independent reader and oracle. Every test here is marked `relion` and skips without them."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Relion = Callable[..., str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.relion)


@pytest.fixture
def relion(tmp_path: Path) -> Relion:
    """Runs one of RELION's programs in the test's folder, or in `cwd`, and gives what it printed.

    Fails when the program says ERROR, other than on lines that hold `allow_error`.
    """
    if shutil.which("relion_preprocess") is None:
        pytest.skip("RELION is not on the PATH")

    def run(program: str, cwd: Path = tmp_path, allow_error: str | None = None, **options: object) -> str:
        argv = [f"relion_{program}"]
        for name, value in options.items():
            argv.append(f"--{name}")
            if value is not True:
                argv.append(str(value))
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False, timeout=600)
        output = done.stdout + done.stderr
        assert done.returncode == 0, f"{' '.join(argv)}\n{output}"
        errors = [line for line in output.splitlines() if "ERROR" in line and not (allow_error and allow_error in line)]
        assert not errors, f"{' '.join(argv)}\n{output}"
        return output

    return run
