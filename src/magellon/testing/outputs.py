"""Is what a backend wrote where it belongs, complete, and free of anything that differs from run to run?"""

import getpass
import hashlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from magellon.contracts import Record
from magellon.testing.faults import BackendFault

CLOCK = re.compile(rb"\b(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\b")
TEXT_SUFFIXES = frozenset({".star", ".json", ".txt", ".log", ".csv", ".tsv", ".xml", ".toml", ".md", ".svg", ".par"})


def check_outputs(output: Record, workdir: Path) -> None:
    """Demand that every path of the output is an existing, non-empty file in `workdir`, and the files hold nothing fleeting.

    Raises:
        BackendFault: a path outside, missing or empty; a file with the time, the host, the user or an absolute path in it.
    """
    root = workdir.resolve()
    for path in output.paths():
        if not path.is_absolute() or not path.resolve().is_relative_to(root):
            raise BackendFault(f"output {path} does not lie in context.workdir ({workdir})")
        if not path.exists():
            raise BackendFault(f"output {path} was not written")
        if path.is_file() and path.stat().st_size == 0:
            raise BackendFault(f"output {path} is empty")
    for path in _files(workdir):
        _check_content(path, workdir)


def hash_files(workdir: Path) -> dict[str, str]:
    """Name relative to `workdir` > SHA-256 of the content, for every file in it."""
    return {str(path.relative_to(workdir)): hashlib.sha256(path.read_bytes()).hexdigest() for path in _files(workdir)}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink())


def _check_content(path: Path, workdir: Path) -> None:
    if path.is_symlink():
        raise BackendFault(f"{path.name} is a symbolic link to {path.readlink()}: results hold files of their own")
    content = path.read_bytes()
    for meaning, needle in _fleeting(workdir):
        if needle in content:
            raise BackendFault(f"{path.name} holds {meaning} ({needle.decode(errors='replace')}): same input, same bytes")
    clock = CLOCK.search(content) if path.suffix.lower() in TEXT_SUFFIXES else None
    if clock:
        raise BackendFault(f"{path.name} holds a time of day ({clock.group().decode()}): same input, same bytes")


def _fleeting(workdir: Path) -> list[tuple[str, bytes]]:
    """What must not stand in a result. Names too short to be told from other content are not looked for."""
    now = time.localtime()
    dates = [time.strftime(form, now) for form in ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%a %b %e", "%d %b %Y", "%Y:%m:%d")]
    texts = [("the date", date) for date in dates]
    texts += [("an absolute path", str(path)) for path in {workdir, workdir.resolve()}]
    texts += [("the host's name", name) for name in [socket.gethostname()] if len(name) > 5 and name != "localhost"]
    texts += [("the user's name", name) for name in [_user_name()] if len(name) > 5]
    return [(meaning, text.encode()) for meaning, text in texts]


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no entry for this user id, as in some containers
        return ""
