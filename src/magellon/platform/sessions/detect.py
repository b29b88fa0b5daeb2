"""Which acquisition program left a folder, judged by the names of its files."""

import json
from dataclasses import dataclass
from pathlib import Path

from magellon.io.leginon import is_leginon_export
from magellon.platform.sessions.definition import SESSION_FILE, Source
from magellon.platform.sessions.epu import EXPOSURE
from magellon.platform.sessions.tree import Tree


@dataclass(frozen=True)
class Detection:
    """The importer to use, and why."""

    source: Source
    reason: str


def detect_source(tree: Tree) -> Detection:
    """A person's `session.json` counts more than what a program left; a folder of which nothing is known is a plain one."""
    definition = tree.folder / SESSION_FILE
    if definition in tree.files:
        if _is_leginon(definition):
            return Detection("leginon", f"{SESSION_FILE} is an export of a Leginon session")
        return Detection("session.json", f"{SESSION_FILE} describes it")
    session = tree.find("EpuSession.dm")
    if session is not None:
        return Detection("epu", f"{session.relative_to(tree.folder)} is there")
    exposure = next((path for path in tree.files if path.suffix == ".xml" and EXPOSURE.match(path.stem)), None)
    if exposure is not None:
        return Detection("epu", f"{exposure.relative_to(tree.folder)} describes an exposure of EPU")
    note = next((path for path in tree.files if path.suffix.lower() in (".mdoc", ".nav")), None)
    if note is not None:
        return Detection("serialem", f"{note.relative_to(tree.folder)} is SerialEM's")
    return Detection("plain", "no metadata file is there")


def _is_leginon(path: Path) -> bool:
    try:
        return is_leginon_export(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return False
