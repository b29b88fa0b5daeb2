"""The examples in the documentation run, each page in a folder of its own."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from examples import PAGES, ROOT, find_examples

TESTED = [page for page in PAGES if any(each.tested for each in find_examples(page))]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", TESTED, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_run(page: Path, tmp_path: Path, small_session: Path, environment: dict[str, str]) -> None:
    folder, home = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    (folder / "session").symlink_to(small_session)
    shutil.copytree(ROOT / "examples", folder / "examples")
    for example in find_examples(page):
        if not example.tested:
            continue
        if example.language == "python":
            command = [sys.executable, "-W", "error", "-c", example.body]
        else:
            command = ["bash", "-euo", "pipefail", "-c", example.commands]
        done = subprocess.run(
            command,
            cwd=folder,
            check=False,
            env={**environment, "HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        where = f"{page.relative_to(ROOT)}:{example.line}"
        assert done.returncode == 0, f"{where} ended with status {done.returncode}:\n{example.commands}\n{done.stdout}"


def test_each_kind_has_tested_examples() -> None:
    tested = {str(page.relative_to(ROOT / "docs").parts[0]) for page in TESTED if page.is_relative_to(ROOT / "docs")}
    assert {"tutorials", "how-to", "reference"} <= tested
