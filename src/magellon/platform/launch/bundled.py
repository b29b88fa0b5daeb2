"""Plugins whose source comes with Magellon, installed by a short name, and what a plugin asks of its installation.

The table `[tool.magellon]` in the `pyproject.toml` of a plugin's folder may say:

    share = true                                  it needs Magellon's own packages (torch), as with `--share`
    without-dependencies = ["name==version"]      packages to install as they are, without what they themselves ask for
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import magellon
from magellon.errors import BadInput

_PINNED = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9.+!_]+")


@dataclass(frozen=True)
class Demands:
    """What a plugin asks of its installation."""

    share: bool = False
    without_dependencies: tuple[str, ...] = ()


def locate_bundled(target: str) -> str:
    """The folder of the plugin that comes with Magellon under this name; anything else is returned as it is."""
    folder = Path(magellon.__file__).resolve().parent / "bundled" / target
    return str(folder) if re.fullmatch(r"[a-z0-9-]+", target) and folder.is_dir() else target


def read_demands(target: str) -> Demands:
    """What the plugin in a folder asks for; nothing for names and archives.

    Raises:
        BadInput: its table says something else.
    """
    path = Path(target) / "pyproject.toml"
    if not path.is_file():
        return Demands()
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}).get("magellon", {})
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}") from error
    unknown = sorted(set(table) - {"share", "without-dependencies"})
    share, packages = table.get("share", False), table.get("without-dependencies", [])
    if unknown or not isinstance(share, bool) or not isinstance(packages, list):
        raise BadInput(f"{path}: [tool.magellon] may hold share (true or false) and without-dependencies (a list), not {table}")
    for package in packages:
        if not isinstance(package, str) or not _PINNED.fullmatch(package):
            raise BadInput(f"{path}: without-dependencies: {package!r} is not NAME==VERSION")
    return Demands(share, tuple(packages))
