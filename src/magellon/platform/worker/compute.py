"""One task from its message to its promoted result."""

import contextlib
import json
import os
import shutil
import socket
from collections.abc import Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magellon.contracts import CONTRACTS
from magellon.contracts.record import map_plain_paths
from magellon.contracts.task import Task
from magellon.errors import BadInput, Transient
from magellon.platform.pipeline.catalogue import read_catalogue
from magellon.platform.pipeline.parameters import fill_parameters
from magellon.platform.store.environments import CataloguePlace
from magellon.platform.store.results import ResultStore
from magellon.platform.store.roots import Roots
from magellon.platform.worker.child import Child
from magellon.platform.worker.children import Children
from magellon.platform.worker.requests import Listener, Request, TaskFailure

_BLAMED = ("bad_input", "defect")


@dataclass(frozen=True)
class Workshop:
    """Where and with what a slot computes."""

    store: ResultStore
    work: Path
    """Folders of tasks at work; on the filesystem of the results, so that promotion is a rename."""
    logs: Path
    catalogue: CataloguePlace
    """What backends say of themselves, and where plugins are."""
    device: str
    threads: int
    memory: int

    def is_there(self) -> bool:
        """Whether the results are mounted: an empty mount point would take results too, and lose them."""
        return self.work.parent.is_dir()

    def clear_leftovers(self, busy: Container[str]) -> None:
        """Remove what tasks left behind on a disk that was gone when they ended; `busy`: identities of those at work."""
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.work):
                if entry.name.partition(".")[0] not in busy:
                    shutil.rmtree(entry.path, ignore_errors=True)

    def find_missing(self, roots: Roots, names: Iterable[str]) -> str | None:
        """Which of the folders that a task needs is not there now, as a mount that went looks; None when all are."""
        if not self.is_there():
            return f"{self.store.folder} is not there now: is it mounted?"
        for name in names:
            folder = roots.folders.get(name)
            if folder is not None and not _holds_something(folder):
                return f"the data root {name!r} at {folder} is not there now, or empty: is it mounted?"
        return None


def _holds_something(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except OSError:
        return False


async def compute_task(
    workshop: Workshop, child: Child | Children, task: Task, roots: Roots, listen: Listener
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Compute a task and promote its result, or find the result promoted: (output, provenance).

    Raises:
        TaskFailure: with the kind of the failure. No task is blamed for files that are not mounted.
    """
    output = workshop.store.read(task.identity)
    if output is not None:
        return output, {}
    workdir = Path(f"{workshop.work}/{task.identity}.{task.attempt}")
    promoted = False
    try:
        request = _make_request(workshop, task, roots, workdir)
        done = await child.run(request, listen)
        promoted = workshop.store.promote(task, workdir, done.output)
    except TaskFailure as failure:
        missing = workshop.find_missing(roots, find_root_names(task)) if failure.kind in _BLAMED else None
        if missing:
            raise TaskFailure("transient", missing, crashed=failure.crashed) from failure
        raise
    except (OSError, Transient) as error:
        raise TaskFailure("transient", str(error)) from error
    except BadInput as error:
        raise TaskFailure("bad_input", str(error)) from error
    finally:
        if not promoted:
            shutil.rmtree(workdir, ignore_errors=True)
    if not promoted:
        return workshop.store.read(task.identity) or done.output, {}
    provenance = {
        "host": socket.gethostname(), "device": done.device, "threads": workshop.threads, "seconds": done.seconds,
    }  # fmt: skip
    return done.output, provenance


def _make_request(workshop: Workshop, task: Task, roots: Roots, workdir: Path) -> Request:
    _make_empty(workdir)
    params = task.params
    if task.files_in_params:
        key = f"{task.category}/{task.backend}"
        description = read_catalogue(workshop.catalogue, [key])[key]
        params = fill_parameters(description, task.params, "", roots.resolve_text)
    value = task.input
    if value is None:
        value = json.loads(roots.resolve(task.input_file or "").read_bytes())
    return Request(
        category=task.category,
        backend=task.backend,
        version=task.version,
        params=params,
        input=map_plain_paths(CONTRACTS[task.category].Input, value, roots.resolve_text),
        workdir=str(workdir),
        device=workshop.device,
        threads=workshop.threads,
        memory=workshop.memory,
        seed=task.seed,
        log=str(workshop.store.log_path(task.identity)),
    )


def _make_empty(folder: Path) -> None:
    try:
        os.mkdir(folder)
    except FileExistsError:  # of the same attempt, delivered twice
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder)
    except FileNotFoundError:
        os.mkdir(folder.parent)  # no deeper: where the results are not mounted, nothing must be made
        os.mkdir(folder)


def find_root_names(task: Task) -> set[str]:
    """The roots that the input lies in."""
    if task.input is None:
        return set()
    names: set[str] = set()

    def note(path: str) -> str:
        names.add(path.partition(":")[0])
        return path

    map_plain_paths(CONTRACTS[task.category].Input, task.input, note)
    return names
