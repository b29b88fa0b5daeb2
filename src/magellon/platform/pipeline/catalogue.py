"""Which backends there are, learned from their descriptions, never by importing them; cached until a package changes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

from magellon.contracts import ENTRY_POINT_GROUP
from magellon.contracts.description import Description
from magellon.errors import BadInput
from magellon.platform.store.files import write_atomically

_EXTRA_BACKENDS = "MAGELLON_EXTRA_BACKENDS"
_TIMEOUT = 300


def read_catalogue(cache: Path | None = None, only: Sequence[str] = ()) -> dict[str, Description]:
    """Descriptions by `category/name`; `only` names categories or keys of interest, so that others cost nothing.

    Raises:
        BadInput: the backends cannot be described at all.
    """
    wanted = {key: mark for key, mark in _mark_backends().items() if not only or {key, key.split("/")[0]} & set(only)}
    known = _read_cache(cache)
    stale = [key for key, mark in wanted.items() if key not in known or known[key][0] != mark]
    if stale:
        for description in _describe(stale):
            known[description.key] = (wanted[description.key], description)
        _write_cache(cache, known)
    return {key: known[key][1] for key in wanted if key in known}


def list_backends() -> list[str]:
    """What is installed, as `category/name`, without describing it."""
    return list(_mark_backends())


def _mark_backends() -> dict[str, str]:
    """By `category/name`, a text that changes whenever the description may have."""
    marks = {}
    for point in entry_points(group=ENTRY_POINT_GROUP):
        distribution = f"{point.dist.name} {point.dist.version}" if point.dist else ""
        marks[point.name.replace(".", "/", 1)] = f"{point.value} {distribution} {_newest_change(point.module)}"
    for item in filter(None, os.environ.get(_EXTRA_BACKENDS, "").split(",")):
        key, _, target = item.strip().partition("=")
        marks[key.replace(".", "/", 1)] = f"{target} {_newest_change(target.partition(':')[0])}"
    return dict(sorted(marks.items()))


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


def _describe(keys: Iterable[str]) -> list[Description]:
    """Ask the backends' own environment."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "magellon.backends.describe", *keys],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInput(f"backends cannot be described: {error}") from error
    if done.returncode != 0:
        raise BadInput(f"backends cannot be described: {done.stderr.decode(errors='replace')[-2000:]}")
    return [Description.model_validate_json(line) for line in done.stdout.splitlines() if line.strip()]


def _read_cache(cache: Path | None) -> dict[str, tuple[str, Description]]:
    if cache is None:
        return {}
    try:
        content = json.loads(cache.read_bytes())
        return {key: (mark, Description.model_validate(value)) for key, (mark, value) in content.items()}
    except (OSError, ValueError, AttributeError):
        return {}  # none yet, or of another version of Magellon: made anew


def _write_cache(cache: Path | None, known: dict[str, tuple[str, Description]]) -> None:
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        content = {key: (mark, description.model_dump(mode="json")) for key, (mark, description) in known.items()}
        write_atomically(cache, json.dumps(content, indent=1).encode())
