"""`check_backend`: one call that a backend's author puts into a test."""

import contextlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from magellon.contracts import CONTRACTS, Backend, Cancelled, Context, Record
from magellon.contracts.backend import Params
from magellon.testing.faults import BackendFault
from magellon.testing.outputs import check_outputs, hash_files
from magellon.testing.schema import check_params

SomeBackend = Backend[Any, Any, Any]


def check_backend(
    backend: type[SomeBackend], example: Record, params: Params | None = None, *, workdir: Path | None = None
) -> Any:
    """Run a backend on an example, again in another folder, and again with two threads; demand the same answer each time.

    The answer is the output record and the bytes of every file. Also checked: the contract, the parameters' schema, that
    outputs lie in the working folder and hold no time, host or absolute path, that the input's files are left alone, and
    that a cancelled run stops.

    Args:
        backend: the class, as named by the entry point.
        example: an input of its contract, small enough to run four times.
        params: the parameters; the defaults if left out.
        workdir: an empty folder to keep the first run's files in. Without it they are gone when this returns.

    Returns:
        The output record of the first run, for the test to compare with what it knows about the example.

    Raises:
        BackendFault: a rule is broken; the message says which.
    """
    check_class(backend)
    check_params(backend)
    if not isinstance(example, backend.contract.Input):
        raise BackendFault(
            f"{backend.__name__} takes {backend.contract.Input.__name__}, the example is {type(example).__name__}"
        )
    chosen = params if params is not None else backend.Params()
    before = _input_stats(example)
    with tempfile.TemporaryDirectory(prefix="magellon-check-") as temporary:
        base = Path(temporary).resolve()
        first = _run(backend, example, chosen, workdir or base / "first", threads=1)
        second = _run(backend, example, chosen, base / "elsewhere" / "second", threads=1)
        third = _run(backend, example, chosen, base / "threads", threads=2)
        _compare(first, second, "in another folder")
        _compare(first, third, "with two threads")
        _check_cancelling(backend, example, chosen, base / "cancelled")
    if _input_stats(example) != before:
        raise BackendFault(f"{backend.__name__} changed the files of its input")
    return first.output


def check_class(backend: type[SomeBackend]) -> None:
    """Demand what the platform reads from the class: contract, name, version.

    Raises:
        BackendFault: something is missing or of the wrong kind.
    """
    for attribute in ("contract", "name", "Params"):
        if not hasattr(backend, attribute):
            raise BackendFault(f"{backend.__name__} has no `{attribute}`")
    if CONTRACTS.get(backend.contract.category) is not backend.contract:
        raise BackendFault(f"{backend.__name__}.contract is none of magellon.contracts: {backend.contract!r}")
    if not backend.name or backend.name != backend.name.strip().lower() or any(letter in backend.name for letter in " ./"):
        raise BackendFault(f"{backend.__name__}.name must be lower case without spaces, dots and slashes: {backend.name!r}")
    if not isinstance(backend.version, int) or backend.version < 1:
        raise BackendFault(f"{backend.__name__}.version must be a whole number from 1, not {backend.version!r}")


class _Answer:
    """One run: its output, the same with paths relative to the folder, and its files."""

    def __init__(self, output: Record, workdir: Path) -> None:
        self.output = output
        self.record = output.map_paths(lambda path: path.relative_to(workdir)).model_dump(mode="json")
        self.files = hash_files(workdir)


def _run(backend: type[SomeBackend], example: Record, params: Params, workdir: Path, threads: int) -> _Answer:
    workdir = workdir.resolve()
    workdir.mkdir(parents=True, exist_ok=True)
    if any(workdir.iterdir()):
        raise ValueError(f"{workdir} is not empty")
    context = Context(workdir=workdir, threads=threads, seed=zlib.crc32(backend.name.encode()))
    with _computing(threads), _standing_elsewhere():
        instance = backend()
        instance.load(context.device)
        output = instance.run(example, params, context)
    if not isinstance(output, backend.contract.Output):
        raise BackendFault(f"{backend.__name__} gave {type(output).__name__}, not {backend.contract.Output.__name__}")
    if type(output).model_validate_json(output.model_dump_json()) != output:
        raise BackendFault(f"{backend.__name__}: the output changes on its way through JSON: {output!r}")
    check_outputs(output, workdir)
    return _Answer(output, workdir)


def _compare(first: _Answer, other: _Answer, how: str) -> None:
    if first.record != other.record:
        differences = [key for key in first.record if first.record[key] != other.record.get(key)]
        values = "; ".join(f"{key}: {first.record[key]!r} became {other.record.get(key)!r}" for key in differences)
        raise BackendFault(f"the output differs {how}: {values}")
    if first.files.keys() != other.files.keys():
        raise BackendFault(f"the files differ {how}: {sorted(first.files.keys() ^ other.files.keys())}")
    differing = [name for name, digest in first.files.items() if other.files[name] != digest]
    if differing:
        raise BackendFault(f"the bytes of {', '.join(differing)} differ {how}")


def _check_cancelling(backend: type[SomeBackend], example: Record, params: Params, workdir: Path) -> None:
    """A backend that reports progress must let `Cancelled` pass."""
    asked = False

    def cancel(fraction: float, message: str) -> None:
        nonlocal asked
        asked = True
        raise Cancelled("cancelled by check_backend")

    workdir.mkdir(parents=True)
    with _computing(1), contextlib.suppress(Cancelled):
        instance = backend()
        instance.load("cpu")
        instance.run(example, params, Context(workdir=workdir, report=cancel))
        if asked:
            raise BackendFault(f"{backend.__name__} went on after context.progress() raised Cancelled")


@contextlib.contextmanager
def _computing(threads: int) -> Iterator[None]:
    """As the worker's child does: torch with this number of threads and deterministic algorithms only."""
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(deterministic)


@contextlib.contextmanager
def _standing_elsewhere() -> Iterator[None]:
    """The current folder is nobody's business: a backend that leans on it fails here."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="magellon-cwd-") as folder:
        os.chdir(folder)
        try:
            yield
            left = [path.name for path in Path(folder).iterdir()]
        finally:
            os.chdir(before)
    if left:
        raise BackendFault(f"{left[0]} was written into the current folder instead of context.workdir")


def _input_stats(example: Record) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in example.paths() if path.is_file()}
