"""Plugins that live in environments of their own: which there are, and with which Python their backends run.

A plugins folder holds `NAME.json`, one manifest per plugin, and `environments/`, the virtual environments that manifests name.
A plugin is there when its manifest is: what lies in `environments/` without one is left over or still being built.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from magellon.contracts import Record

log = logging.getLogger("magellon.plugins")

MAIN = "main"
"""The environment that Magellon itself is installed in."""
_ENVIRONMENTS = "environments"
_DROPPED = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "MAGELLON_EXTRA_BACKENDS")
"""Variables that would let packages of another environment in."""


class Environment(Record):
    """Manifest of an installed plugin."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=100)
    """Name of its package, in lower case with hyphens."""
    version: str
    source: str
    """What was asked to be installed."""
    folder: str = Field(pattern=r"^[a-z0-9-]+$")
    """Of the virtual environment, in `environments/`."""
    shared: bool = False
    """Whether it sees the packages of Magellon's own environment where it has none of its own."""
    backends: tuple[str, ...]
    """`category/name`."""

    @property
    def distribution(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True)
class CataloguePlace:
    """Where descriptions of backends are cached, and where plugins with environments of their own are."""

    cache: Path | None = None
    plugins: Path | None = None


def locate_environment(plugins: Path, environment: Environment) -> Path:
    return plugins / _ENVIRONMENTS / environment.folder


def locate_environments(plugins: Path) -> Path:
    return plugins / _ENVIRONMENTS


def locate_manifest(plugins: Path, name: str) -> Path:
    return plugins / f"{name}.json"


def locate_python(plugins: Path, environment: Environment) -> Path:
    return locate_environment(plugins, environment) / "bin" / "python"


def list_environments(plugins: Path | None) -> list[Environment]:
    """Installed plugins by name; a manifest that cannot be read is left out with a warning."""
    if plugins is None or not plugins.is_dir():
        return []
    found = []
    for path in sorted(plugins.glob("[a-z0-9]*.json")):
        try:
            environment = Environment.model_validate(json.loads(path.read_bytes()))
        except (OSError, ValueError, ValidationError) as error:
            log.warning("%s is not the manifest of a plugin: %s", path, error)
            continue
        if environment.name == path.stem:
            found.append(environment)
    return found


def mark_environments(plugins: Path | None) -> int:
    """A number that changes whenever a plugin is installed or removed."""
    try:
        return plugins.stat().st_mtime_ns if plugins else 0
    except OSError:
        return 0


def isolate_variables(variables: Mapping[str, str], python: Path) -> dict[str, str]:
    """Environment variables for a plugin's Python: its programs first, and nobody else's packages."""
    folder = python.parent.parent
    kept = {name: value for name, value in variables.items() if name not in _DROPPED}
    path = os.pathsep.join(filter(None, [str(python.parent), variables.get("PATH", os.defpath)]))
    return {**kept, "PATH": path, "VIRTUAL_ENV": str(folder), "PYTHONNOUSERSITE": "1", "PYTHONSAFEPATH": "1"}
