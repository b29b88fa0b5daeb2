"""Results by identity: folders that appear whole, once, by a rename, and are never changed afterwards."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magellon.contracts.task import Task

RESULT_FILE = "result.json"


@dataclass(frozen=True)
class ResultStore:
    """`HOME/results`."""

    folder: Path

    def path(self, identity: str) -> Path:
        return Path(self.place(identity))

    def place(self, identity: str) -> str:
        """The same as text, for what is done for every task."""
        return f"{self.folder}/{identity[:2]}/{identity}"

    def log_path(self, identity: str) -> Path:
        """What a task's backend said; beside the results, so that every machine's lines are seen by all."""
        return self.folder / ".logs" / identity[:2] / f"{identity}.log"

    def read(self, identity: str) -> dict[str, Any] | None:
        """The output of a promoted result; None when there is none, or when its files are not what was promoted."""
        folder = self.place(identity)
        try:
            with open(f"{folder}/{RESULT_FILE}", "rb", buffering=0) as file:
                result = json.loads(file.read())
            complete = all(os.stat(f"{folder}/{name}").st_size == size for name, size in result["files"].items())
        except (OSError, ValueError, KeyError):
            return None
        return dict(result["output"]) if complete else None

    def promote(self, task: Task, workdir: Path, output: Mapping[str, Any]) -> bool:
        """Make a finished working folder the result of its task; False when another one was first, whose result stays.

        The folder then holds `result.json`: what was computed from what, without times, hosts or absolute paths.
        """
        record = {
            "format": "magellon-result",
            "version": 1,
            "identity": task.identity,
            "category": task.category,
            "backend": task.backend,
            "backend_version": task.version,
            "params": task.params,
            "inputs": task.inputs,
            "output": output,
            "files": dict(sorted(_list_files(str(workdir)))),
        }
        # Nothing is synced to disk here: what a power cut spoils shows by the sizes of its files and is computed again.
        with open(f"{workdir}/{RESULT_FILE}", "wb") as file:
            file.write(json.dumps(record, sort_keys=True, allow_nan=False).encode())
        return self._rename(str(workdir), task.identity)

    def _rename(self, workdir: str, identity: str) -> bool:
        target = self.place(identity)
        try:
            _move(workdir, target)  # fails on a folder that exists and is not empty
        except OSError:
            if self.read(identity) is None:
                self._remove_spoiled(identity)
                _move(workdir, target)
                return True
            shutil.rmtree(workdir, ignore_errors=True)
            return False
        return True

    def _remove_spoiled(self, identity: str) -> None:
        """What a power cut or a person left; never valid."""
        target = self.place(identity)
        if os.path.lexists(target):
            spoiled = f"{self.folder}/.work/spoiled-{identity}"
            shutil.rmtree(spoiled, ignore_errors=True)
            os.rename(target, spoiled)
            shutil.rmtree(spoiled, ignore_errors=True)


def _move(folder: str, target: str) -> None:
    try:
        os.rename(folder, target)
    except FileNotFoundError:
        if not os.path.isdir(folder):  # the disk went with it
            raise
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.rename(folder, target)


def _list_files(folder: str, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Relative path and size of each file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _list_files(entry.path, f"{prefix}{entry.name}/")
            elif entry.is_file():
                yield f"{prefix}{entry.name}", entry.stat().st_size
