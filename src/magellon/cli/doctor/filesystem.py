"""Can the home be used: room, kind of filesystem, the operations that crash safety stands on."""

import os
import shutil
import tempfile
from pathlib import Path

from magellon.cli.doctor.finding import Finding
from magellon.errors import BadInput
from magellon.platform.store.home import find_filesystem, refuse_network_filesystem

AREA = "filesystem"
LITTLE_ROOM = 20 << 30
"""Bytes: a session of 1,000 movies of 4k x 4k leaves about 200 GB of micrographs, a small one 20."""


def examine_filesystem(home: Path, state: Path) -> list[Finding]:
    """The home's and the state folder's filesystem; neither is created."""
    try:
        base = _nearest_existing(home)
        return [_check_room(base), _check_state(_nearest_existing(state)), _check_operations(base)]
    except OSError as error:
        return [Finding(AREA, str(home), "problem", str(error), "the home cannot be used; choose another with --home")]


def _nearest_existing(path: Path) -> Path:
    return next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())


def _check_room(base: Path) -> Finding:
    free = shutil.disk_usage(base).free
    found = f"{free / 2**30:.0f} GB free on {base} ({find_filesystem(base) or 'unknown filesystem'})"
    if free < LITTLE_ROOM:
        return Finding(AREA, "room", "problem", found, "a session of a few hundred movies fills this; see --home")
    return Finding(AREA, "room", "ok", found)


def _check_state(base: Path) -> Finding:
    try:
        refuse_network_filesystem(base)
    except BadInput as error:
        return Finding(AREA, "state folder", "problem", str(error), "databases on network filesystems get corrupted")
    return Finding(AREA, "state folder", "ok", f"{find_filesystem(base) or 'unknown filesystem'}, local")


def _check_operations(base: Path) -> Finding:
    """Rename over a file and symbolic links, which results and session folders are made with."""
    with tempfile.TemporaryDirectory(prefix=".magellon-doctor-", dir=base) as folder:
        first, second, link = (Path(folder) / name for name in ("first", "second", "link"))
        first.write_bytes(b"new")
        second.write_bytes(b"old")
        os.replace(first, second)
        link.symlink_to("second")
        if link.read_bytes() != b"new":
            meaning = "results cannot be put in place safely here; choose another home"
            return Finding(AREA, "rename and links", "problem", "a renamed file is not what was written", meaning)
    return Finding(AREA, "rename and links", "ok", "work")
