"""Which backends are installed. Nothing is imported until a backend is asked for by name."""

import importlib
import os
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from magellon.contracts import ENTRY_POINT_GROUP, Backend
from magellon.errors import BadInput

EXTRA_BACKENDS = "MAGELLON_EXTRA_BACKENDS"
"""Environment variable for developers: `CATEGORY.NAME=module:Class`, separated by commas, for backends not yet packaged."""


@dataclass(frozen=True)
class Installed:
    """Where a backend is found."""

    category: str
    name: str
    target: str
    """`module:Class`."""
    distribution: str


def find_backends() -> list[Installed]:
    """All installed backends, by category and name. The environment variable wins over an entry point of the same name."""
    found: dict[tuple[str, str], Installed] = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        category, _, name = point.name.partition(".")
        distribution = f"{point.dist.name} {point.dist.version}" if point.dist else ""
        found[category, name] = Installed(category, name, point.value, distribution)
    for item in filter(None, os.environ.get(EXTRA_BACKENDS, "").split(",")):
        key, _, target = item.strip().partition("=")
        category, _, name = key.partition(".")
        found[category, name] = Installed(category, name, target, "")
    return [found[key] for key in sorted(found)]


def load_backend(category: str, name: str) -> type[Backend[Any, Any, Any]]:
    """Import one backend's class.

    Raises:
        BadInput: no such backend, or what its entry point names is not one.
    """
    for installed in find_backends():
        if (installed.category, installed.name) == (category, name):
            return import_backend(installed)
    raise BadInput(f"no backend {category}/{name} is installed")


def import_backend(installed: Installed) -> type[Backend[Any, Any, Any]]:
    """Import the class an entry point names and check that it is what the entry point says.

    Raises:
        BadInput: it is no backend, or another one.
    """
    module, _, attribute = installed.target.partition(":")
    found = getattr(importlib.import_module(module), attribute, None)
    key = f"{installed.category}/{installed.name}"
    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise BadInput(f"{installed.target}, the entry point of {key}, is not a magellon.contracts.Backend")
    if (found.contract.category, found.name) != (installed.category, installed.name):
        raise BadInput(f"{installed.target} is {found.contract.category}/{found.name}, its entry point says {key}")
    return found
