"""Which backends there are, learned from their descriptions, never by importing them; cached until a package changes.

They are found in Magellon's own environment and in those of plugins. Of two backends of one name, Magellon's own wins.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from pathlib import Path

from magellon.contracts import ENTRY_POINT_GROUP
from magellon.contracts.description import Description
from magellon.errors import BadInput
from magellon.platform.store.environments import (
    CataloguePlace,
    Environment,
    isolate_variables,
    list_environments,
    locate_python,
)
from magellon.platform.store.files import write_atomically

_EXTRA_BACKENDS = "MAGELLON_EXTRA_BACKENDS"
_TIMEOUT = 300


@dataclass(frozen=True)
class _Found:
    """A backend before it is described."""

    python: str
    mark: str
    """A text that changes whenever the description may have."""
    plugin: Environment | None = None


def read_catalogue(place: CataloguePlace | None = None, only: Sequence[str] = ()) -> dict[str, Description]:
    """Descriptions by `category/name`; `only` names categories or keys of interest, so that others cost nothing.

    Raises:
        BadInput: the backends of Magellon's own environment cannot be described at all.
    """
    place = place or CataloguePlace()
    found = _find_backends(place.plugins)
    wanted = {key: backend for key, backend in found.items() if not only or {key, key.split("/")[0]} & set(only)}
    known = _read_cache(place.cache)
    stale = [key for key, backend in wanted.items() if key not in known or known[key][0] != backend.mark]
    if stale:
        fresh = _describe_all({key: wanted[key] for key in stale})
        known.update({key: (wanted[key].mark, description) for key, description in fresh.items()})
        _write_cache(place.cache, known)
    return {key: known[key][1] for key in wanted if key in known}


def list_backends(plugins: Path | None = None) -> list[str]:
    """What is installed, as `category/name`, without describing it."""
    return list(_find_backends(plugins))


def list_own_backends() -> dict[str, str]:
    """Backends of Magellon's own environment by `category/name`, with the name and version of the package that brings each."""
    return {key: distribution for key, (_, distribution) in _find_own().items()}


def map_pythons(plugins: Path | None) -> dict[str, str]:
    """The Python that runs each backend, by `category/name`."""
    return {key: found.python for key, found in _find_backends(plugins).items()}


def describe_backends(python: str, keys: Iterable[str]) -> dict[str, Description]:
    """Ask an environment for descriptions.

    Raises:
        BadInput: it cannot answer.
    """
    variables = dict(os.environ) if python == sys.executable else isolate_variables(os.environ, Path(python))
    try:
        done = subprocess.run(
            [python, "-m", "magellon.backends.describe", *keys],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False, env=variables,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInput(f"backends cannot be described: {error}") from error
    if done.returncode != 0:
        raise BadInput(f"backends cannot be described: {done.stderr.decode(errors='replace').strip()[-2000:]}")
    descriptions = [Description.model_validate_json(line) for line in done.stdout.splitlines() if line.strip()]
    return {description.key: description for description in descriptions}


def _find_backends(plugins: Path | None) -> dict[str, _Found]:
    own = {key: _Found(sys.executable, mark) for key, (mark, _) in _find_own().items()}
    found = {}
    for plugin in list_environments(plugins):
        assert plugins is not None
        mark = f"{plugin.folder} {plugin.distribution} magellon {version('magellon')}"
        found.update({key: _Found(str(locate_python(plugins, plugin)), mark, plugin) for key in plugin.backends})
    return dict(sorted({**found, **own}.items()))


def _find_own() -> dict[str, tuple[str, str]]:
    """By `category/name`: mark, and name and version of the package."""
    found = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        distribution = f"{point.dist.name} {point.dist.version}" if point.dist else ""
        mark = f"{point.value} {distribution} {_newest_change(point.module)}"
        found[point.name.replace(".", "/", 1)] = (mark, distribution)
    for item in filter(None, os.environ.get(_EXTRA_BACKENDS, "").split(",")):
        key, _, target = item.strip().partition("=")
        found[key.replace(".", "/", 1)] = (f"{target} {_newest_change(target.partition(':')[0])}", "")
    return found


def _newest_change(module: str) -> int:
    """Time of the newest file beside a module; found without importing the module or its parents."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return 0
    if spec is None or spec.origin is None:
        return 0
    folder = Path(spec.origin).parent.joinpath(*rest[:-1]) if rest else Path(spec.origin).parent
    places = list(folder.glob("*.py")) if rest else [Path(spec.origin)]
    return max((path.stat().st_mtime_ns for path in places), default=0)


def _describe_all(found: dict[str, _Found]) -> dict[str, Description]:
    """Each environment is asked once; a plugin's that cannot answer takes only its own backends down with it."""
    described: dict[str, Description] = {}
    for python in sorted({backend.python for backend in found.values()}):
        keys = [key for key, backend in found.items() if backend.python == python]
        plugin = found[keys[0]].plugin
        if plugin is None:
            described.update(describe_backends(python, keys))
        else:
            described.update(_describe_plugin(plugin, python, keys))
    return described


def _describe_plugin(plugin: Environment, python: str, keys: list[str]) -> dict[str, Description]:
    reason = f"its environment {Path(python).parent.parent} does not know it"
    described: dict[str, Description] = {}
    try:
        described = describe_backends(python, keys)
    except BadInput as error:
        reason = f"its environment {Path(python).parent.parent} is broken: {error}"
    return {key: described.get(key) or _excuse(plugin, key, reason) for key in keys}


def _excuse(plugin: Environment, key: str, reason: str) -> Description:
    category, _, name = key.partition("/")
    return Description(category=category, name=name, distribution=plugin.distribution, error=reason)


def _read_cache(cache: Path | None) -> dict[str, tuple[str, Description]]:
    if cache is None:
        return {}
    try:
        content = json.loads(cache.read_bytes())
        return {key: (mark, Description.model_validate(value)) for key, (mark, value) in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}  # none yet, or of another version of Magellon: made anew


def _write_cache(cache: Path | None, known: dict[str, tuple[str, Description]]) -> None:
    """Without what failed: an environment that is repaired, or a disk that is back, is seen at the next look."""
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        kept = {key: entry for key, entry in known.items() if entry[1].error is None}
        content = {key: (mark, description.model_dump(mode="json")) for key, (mark, description) in kept.items()}
        write_atomically(cache, json.dumps(content, indent=1).encode())
