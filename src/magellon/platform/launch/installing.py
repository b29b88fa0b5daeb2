"""Installing plugins into environments of their own. A plugin appears when its manifest does, which is written last."""

import fcntl
import logging
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

import psutil

from magellon.contracts import CONTRACTS, ENTRY_POINT_GROUP
from magellon.contracts.description import Description
from magellon.errors import BadInput
from magellon.platform.launch.building import build_environment, find_packages, install_alone, install_package
from magellon.platform.launch.bundled import locate_bundled, read_demands
from magellon.platform.pipeline.catalogue import describe_backends, list_own_backends
from magellon.platform.store.environments import (
    Environment,
    list_environments,
    locate_environment,
    locate_environments,
    locate_manifest,
)
from magellon.platform.store.files import write_atomically

log = logging.getLogger("magellon.plugins")

Say = Callable[[str], None]
"""Called with each line of what is going on."""

_REQUIREMENT = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"  # name
    r"(\[[A-Za-z0-9._,-]+\])?"  # extras
    r"((==|>=|<=|~=|!=|<|>)[A-Za-z0-9.*+!_]+(,(==|>=|<=|~=|!=|<|>)[A-Za-z0-9.*+!_]+)*)?"
)
_ARCHIVES = (".whl", ".tar.gz", ".zip")


@dataclass(frozen=True)
class Wish:
    """What is to be installed."""

    target: str
    """Name of a package or of a plugin that comes with Magellon, or a path to a source folder or an archive of one."""
    shared: bool = False
    """See `Environment.shared`."""


def check_target(target: str) -> str:
    """What pip is given: an absolute path, or a name with perhaps a version.

    Raises:
        BadInput: neither an existing package folder or archive nor a name; addresses are refused.
    """
    path = Path(target).expanduser()
    if target and (os.path.exists(path) or os.sep in target or target.endswith(_ARCHIVES)):
        path = path.resolve()
        if path.is_dir() and not any((path / name).is_file() for name in ("pyproject.toml", "setup.py")):
            raise BadInput(f"{target}: no pyproject.toml in that folder, so it is not a package")
        if not path.is_dir() and not (path.is_file() and path.name.endswith(_ARCHIVES)):
            raise BadInput(f"{target}: {path} is neither a package's folder nor an archive ({', '.join(_ARCHIVES)})")
        return str(path)
    if not _REQUIREMENT.fullmatch(target) or len(target) > 200:
        raise BadInput(f"{target!r}: must be the name of a package, perhaps with a version (acme-picker==1.2), or a path")
    return target


def normalise_name(name: str) -> str:
    """A package's name as PyPI compares it.

    Raises:
        BadInput: not a name.
    """
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name) or len(name) > 100:
        raise BadInput(f"{name!r} is not the name of a plugin")
    return re.sub(r"[-_.]+", "-", name).lower()


def install_plugin(plugins: Path, wish: Wish, say: Say) -> Environment:
    """Install a plugin, or another version in its place. Whatever goes wrong, what was there before is still there.

    Raises:
        BadInput: the target cannot be installed, brings no usable backend, or one that is there already.
    """
    target = check_target(locate_bundled(wish.target))
    demands = read_demands(target)
    shared = wish.shared or demands.share
    with _hold(plugins):
        _sweep(plugins)
        folder = locate_environments(plugins) / f"plugin-{secrets.token_hex(4)}"
        try:
            build_environment(folder, shared, say)
            name, version = install_package(folder, target, say)
            install_alone(folder, demands.without_dependencies, say)
            environment = Environment(
                name=normalise_name(name),
                version=version,
                source=target,
                folder=folder.name,
                shared=shared,
                backends=_find_backends(folder, target),
            )
            _check_names(plugins, environment)
            say("asking the plugin what it brings")
            _check_descriptions(environment, describe_backends(str(folder / "bin" / "python"), environment.backends))
            content = environment.model_dump_json(indent=1).encode()
            write_atomically(locate_manifest(plugins, environment.name), content)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        _sweep(plugins)
    return environment


def remove_plugin(plugins: Path, name: str) -> None:
    """Remove a plugin with its environment; what still runs in it keeps the files until the next installation.

    Raises:
        BadInput: it is not installed.
    """
    name = normalise_name(name)
    with _hold(plugins):
        manifest = locate_manifest(plugins, name)
        if not manifest.is_file():
            there = ", ".join(each.name for each in list_environments(plugins)) or "none"
            raise BadInput(f"no plugin {name!r} in {plugins} (there is {there})")
        manifest.unlink()
        _sweep(plugins)


def _find_backends(folder: Path, target: str) -> tuple[str, ...]:
    """Keys of the backends that packages in the environment itself bring; nothing of theirs runs for that."""
    keys = {
        point.name.replace(".", "/", 1)
        for distribution in distributions(path=[str(path) for path in find_packages(folder)])
        for point in distribution.entry_points
        if point.group == ENTRY_POINT_GROUP
    }
    if not keys:
        raise BadInput(f"{target} brings no backend: it has no entry point in the group {ENTRY_POINT_GROUP!r}")
    for key in keys:
        category, _, name = key.partition("/")
        if category not in CONTRACTS:
            raise BadInput(f"{target} brings {key}: there is no category {category!r} (there are {', '.join(CONTRACTS)})")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or len(name) > 100:
            raise BadInput(f"{target} brings {key!r}: a backend's name is letters, digits, '-' and '_'")
    return tuple(sorted(keys))


def _check_names(plugins: Path, environment: Environment) -> None:
    owners = {key: f"{distribution or 'another package'} of Magellon's own environment"
              for key, distribution in list_own_backends().items()}  # fmt: skip
    for other in list_environments(plugins):
        if other.name != environment.name:
            owners.update(dict.fromkeys(other.backends, f"the plugin {other.name}"))
    for key in environment.backends:
        if key in owners:
            raise BadInput(f"{environment.name} brings {key}, which {owners[key]} brings already; remove that first")


def _check_descriptions(environment: Environment, described: Mapping[str, Description]) -> None:
    for key in environment.backends:
        description = described.get(key)
        error = description.error if description else "it does not describe itself"
        if error:
            hint = "; a plugin lists what it imports in its dependencies" if "ModuleNotFound" in error else ""
            raise BadInput(f"{environment.name}: {key} cannot be used: {error}{hint}")


@contextmanager
def _hold(plugins: Path) -> Iterator[None]:
    """One installation at a time.

    Raises:
        BadInput: the folder cannot be written, or another installation is at work.
    """
    try:
        locate_environments(plugins).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(plugins / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise BadInput(f"the plugins folder {plugins} cannot be used: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise BadInput(f"another installation is at work in {plugins}: {error.strerror}") from error
    try:
        yield
    finally:
        os.close(descriptor)


def _sweep(plugins: Path) -> None:
    """Remove environments that no manifest names, but those in which something still runs."""
    kept = {locate_environment(plugins, environment) for environment in list_environments(plugins)}
    left = [folder for folder in locate_environments(plugins).iterdir() if folder not in kept]
    used = _list_programs() if left else []
    for folder in left:
        if any(program.startswith(f"{folder}{os.sep}") for program in used):
            log.info("%s is still in use and is removed by a later installation", folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _list_programs() -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            found += process.cmdline()[:1]
        except psutil.Error:
            continue
    return found
