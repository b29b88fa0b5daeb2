"""How plugins are: installed, enabled, live, healthy, and why not. Told by descriptions, settings, beats, launcher."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from magellon.contracts import CONTRACTS, Record
from magellon.contracts.description import Description
from magellon.platform.bus.launching import LaunchState, ProgramState
from magellon.platform.server.settings import Setting
from magellon.platform.server.watch import Sight
from magellon.platform.store.environments import MAIN, Environment

UNPACKAGED = "unpackaged"
"""What backends in development count as, that no package brings yet."""


class BackendStatus(Record):
    """One backend."""

    key: str
    """`category/name`."""
    version: int
    """Of its results."""
    summary: str
    installed: bool
    enabled: bool
    preferred: bool
    """What its category takes where a recipe names none."""
    live: bool
    """A worker serves it."""
    healthy: bool
    reason: str
    """Why it is not healthy."""


class WorkerStatus(Record):
    """A worker that serves some backend of the plugin, or did before it fell silent."""

    name: str
    host: str
    slots: int
    running: int
    """Tasks it computes now."""
    silent_for: float
    """Seconds since it was last heard of."""
    lost: bool


class PluginStatus(Record):
    """A package that brings backends."""

    name: str
    version: str
    environment: str
    """`main`: Magellon's own; `isolated` or `shared`: one of its own."""
    source: str
    healthy: bool
    reason: str
    replicas: int | None
    """How many workers of its own it is to have; None: the general workers run it."""
    backends: tuple[BackendStatus, ...]
    workers: tuple[WorkerStatus, ...]
    programs: tuple[ProgramState, ...]
    """Its workers of its own as the launcher sees them, with restarts and how they last ended."""

    def hide_words(self) -> "PluginStatus":
        """Without what workers said and where they are: their last words may name files of sessions that not everybody sees."""
        backends = tuple(each.model_copy(update={"reason": _cut(each.reason)}) for each in self.backends)
        hidden = {"source": "", "workers": (), "programs": (), "backends": backends}
        return self.model_copy(update={**hidden, "reason": _join_reasons(backends)})


def _join_reasons(backends: Sequence[BackendStatus]) -> str:
    """Of those that are wanted and ill."""
    return "; ".join(dict.fromkeys(backend.reason for backend in backends if backend.enabled and not backend.healthy))


def _cut(reason: str) -> str:
    return reason.partition(":")[0]


@dataclass(frozen=True)
class Facts:
    """What is known at one moment."""

    catalogue: Mapping[str, Description]
    environments: Sequence[Environment] = ()
    settings: Mapping[str, Setting] = field(default_factory=dict)
    sights: Sequence[Sight] = ()
    watched: bool = True
    """Whether a server hears of workers."""
    launch: LaunchState = field(default_factory=lambda: LaunchState(programs=(), replicas={}))

    def name_plugins(self) -> dict[str, list[str]]:
        """Plugins by name with the keys of their backends; that of Magellon first."""
        owners = {key: environment.name for environment in self.environments for key in environment.backends}
        found: dict[str, list[str]] = {}
        for key, description in self.catalogue.items():
            package = description.distribution.partition(" ")[0]
            owner = re.sub(r"[-_.]+", "-", package).lower() or owners.get(key) or UNPACKAGED
            found.setdefault(owner, []).append(key)
        return dict(sorted(found.items(), key=lambda entry: (entry[0] != "magellon", entry[0])))


def describe_plugins(facts: Facts) -> list[PluginStatus]:
    """All plugins."""
    return [_describe_plugin(facts, name, keys) for name, keys in facts.name_plugins().items()]


def _describe_plugin(facts: Facts, name: str, keys: Sequence[str]) -> PluginStatus:
    programs = tuple(program for program in facts.launch.programs if program.plugin == name)
    environment = next((each for each in facts.environments if each.name == name), None)
    order = list(CONTRACTS)
    keys = sorted(keys, key=lambda key: (order.index(key.split("/")[0]) if key.split("/")[0] in order else len(order), key))
    backends = tuple(_describe_backend(facts, name, key, programs) for key in keys)
    serving = [sight for sight in facts.sights if set(sight.beat.backends) & set(keys)]
    return PluginStatus(
        name=name,
        version=facts.catalogue[keys[0]].distribution.partition(" ")[2],
        environment=MAIN if environment is None else "shared" if environment.shared else "isolated",
        source=environment.source if environment else "",
        healthy=all(backend.healthy or not backend.enabled for backend in backends),
        reason=_join_reasons(backends),
        replicas=facts.launch.replicas.get(name),
        backends=backends,
        workers=tuple(_describe_worker(sight) for sight in serving),
        programs=programs,
    )


def _describe_worker(sight: Sight) -> WorkerStatus:
    beat = sight.beat
    silent = round(sight.silent_for, 1)
    return WorkerStatus(
        name=beat.worker, host=beat.host, slots=beat.slots, running=len(beat.running), silent_for=silent, lost=sight.lost
    )


def _describe_backend(facts: Facts, plugin: str, key: str, programs: Sequence[ProgramState]) -> BackendStatus:
    description = facts.catalogue[key]
    setting = facts.settings.get(key, Setting())
    live = any(key in sight.beat.backends and not sight.lost for sight in facts.sights)
    reason = _find_reason(facts, plugin, key, programs, live)
    return BackendStatus(
        key=key,
        version=description.version,
        summary=description.summary,
        installed=description.error is None,
        enabled=setting.enabled,
        preferred=setting.preferred,
        live=live,
        healthy=not reason,
        reason=reason,
    )


def _find_reason(facts: Facts, plugin: str, key: str, programs: Sequence[ProgramState], live: bool) -> str:
    """Why a backend is not healthy; the first that applies, causes before effects."""
    error = facts.catalogue[key].error
    if error:
        return f"cannot be used: {error}"
    if not facts.settings.get(key, Setting()).enabled:
        return "disabled"
    for program in programs:
        if program.condition == "given up":
            return f"worker {program.name} was given up after {program.restarts} restarts: {program.reason}"
        if program.condition == "waiting":
            return f"worker {program.name} crashed and is started again ({program.restarts} restarts): {program.reason}"
    if live:
        return ""
    if facts.launch.replicas.get(plugin) == 0:
        return "stopped"
    lost = [sight for sight in facts.sights if key in sight.beat.backends]
    if lost:
        latest = min(lost, key=lambda sight: sight.silent_for)
        return f"worker {latest.beat.worker} fell silent {latest.silent_for:.0f} s ago"
    return "no worker serves it" if facts.watched else "no server runs"
