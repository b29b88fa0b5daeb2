"""Put an export in its place: links first, then everything into the target folder, where only an earlier export is replaced."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magellon.contracts import SessionExportOutput
from magellon.errors import BadInput

RECORD = "magellon_export.json"
WORK_PREFIX = ".exporting-"
"""Of the folder in which an export is made; one that was killed leaves it behind."""
_JOBS = {"Import", "MotionCorr", "CtfFind", "AutoPick", "Extract"}
"""RELION puts its own jobs beside ours: there it is the job's folder that belongs to the export, not the one above."""


@dataclass(frozen=True)
class Export:
    """What is exported, and where to."""

    session: Path
    target: Path
    """Absolute."""
    home: Path
    """Resolved."""
    to: str
    params: Mapping[str, Any]
    earlier: tuple[str, ...] = ()
    """What an earlier export put into the target."""


def check_target(target: Path, session: Path, *, overwrite: bool) -> tuple[str, ...]:
    """What an earlier export has put there, which is to be replaced; nothing for a new or an empty folder.

    Raises:
        BadInput: the target is no folder, lies in the session, or holds something and must not be overwritten.
    """
    if target.exists() and not target.is_dir():
        raise BadInput(f"--out {target} is a file")
    if target.resolve().is_relative_to(session.resolve()):
        raise BadInput(f"--out {target} lies in the session's own folder")
    if not target.exists() or all(path.name.startswith(WORK_PREFIX) for path in target.iterdir()):
        return ()
    if not overwrite:
        raise BadInput(f"--out {target} is not empty; --overwrite replaces an earlier export in it")
    try:
        entries = json.loads((target / RECORD).read_bytes())["entries"]
        return tuple(str(entry) for entry in entries)
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{target / RECORD}: not the record of an export: {error}") from error


def deliver_export(export: Export, output: SessionExportOutput) -> None:
    """Make the links in the project that was written, record it, and move it into the target.

    Raises:
        BadInput: a file that is to be linked to is missing, or something in the way is not from an earlier export.
    """
    make_links(export, output)
    entries = list_entries(output.project)
    in_the_way = [entry for entry in entries if os.path.lexists(export.target / entry) and entry not in export.earlier]
    if in_the_way:
        raise BadInput(f"{export.target / in_the_way[0]} is not from an earlier export; it is left alone, and nothing was done")
    write_record(export, output, sorted({*export.earlier, *entries}))  # whatever happens now, the next one may replace it
    for entry in export.earlier:
        remove_entry(export.target, entry)
    for entry in entries:
        place = export.target / entry
        place.parent.mkdir(parents=True, exist_ok=True)
        (output.project / entry).rename(place)
    write_record(export, output, entries)


def make_links(export: Export, output: SessionExportOutput) -> None:
    """Link to the files themselves, not to the session's links, which move on with the session.

    Raises:
        BadInput: a file is missing.
    """
    tree = find_tree(export)
    links: Mapping[str, str] = json.loads(output.links.read_bytes())
    target = export.target.resolve()
    for name, source in sorted(links.items()):
        try:
            file = (export.session / source).resolve(strict=True)
        except OSError as error:
            raise BadInput(f"{export.session.name}: {source} is not there: {error.strerror}") from error
        link = output.project / name
        link.parent.mkdir(parents=True, exist_ok=True)
        inside = tree is not None and file.is_relative_to(tree)
        link.symlink_to(os.path.relpath(file, (target / name).parent) if inside else file)


def find_tree(export: Export) -> Path | None:
    """The folder within which links are relative, so that it can be mounted elsewhere: the target's mount, or the home.

    None: everything lies on the root filesystem and the target outside of the home; then links are absolute.
    """
    target = export.target.resolve()
    mount = next(folder for folder in (target, *target.parents) if os.path.ismount(folder))
    if mount != Path(mount.anchor):
        return mount
    return export.home if target.is_relative_to(export.home) else None


def list_entries(project: Path) -> list[str]:
    """What an export is made of, each to be moved or removed as a whole."""
    entries = []
    for path in sorted(project.iterdir()):
        if path.is_dir() and path.name in _JOBS:
            entries += [f"{path.name}/{job.name}" for job in sorted(path.iterdir())]
        else:
            entries.append(path.name)
    return entries


def remove_entry(target: Path, entry: str) -> None:
    """Remove what an earlier export made; a record that names anything outside is not believed."""
    path = target / entry
    if entry.startswith("/") or ".." in Path(entry).parts or len(Path(entry).parts) > 2:
        raise BadInput(f"{target / RECORD}: {entry!r} is no part of an export")
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    if path.parent != target and path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()


def write_record(export: Export, output: SessionExportOutput, entries: list[str]) -> None:
    """`magellon_export.json`: what was exported, and of which entries it consists. No time, host or path."""
    record = {
        "format": "magellon-export",
        "version": 1,
        "session": export.session.name,
        "to": export.to,
        "parameters": dict(export.params),
        "micrographs": output.micrographs,
        "micrographs_left_out": output.micrographs_left_out,
        "particles": output.particles,
        "particles_left_out": output.particles_left_out,
        "entries": entries,
    }
    partial = export.target / f".{RECORD}.part"
    partial.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(export.target / RECORD)
