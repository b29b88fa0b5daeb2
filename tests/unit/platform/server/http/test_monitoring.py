"""What Prometheus reads is in its format, agrees with the ledger, and is for operators."""

import dataclasses
import re
from types import SimpleNamespace
from typing import Any

from magellon.contracts.task import Beat, Running
from magellon.platform.people.roles import Role
from magellon.platform.server.exposition import Family, write_families
from magellon.platform.server.watch import Watch

LINE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? (\S+)$')


def read_samples(text: str) -> dict[str, float]:
    """Value by metric with its labels; every line must be one that Prometheus reads."""
    samples: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith("# "):
            assert LINE.match(line), line
            name, _, value = line.rpartition(" ")
            assert name not in samples, name
            samples[name] = float(value)
    return samples


def test_metrics_agree_with_the_ledger(site: Any, application: Any) -> None:
    watch = Watch(lost_after=8.0)
    running = (Running(task=1, attempt=1),)
    watch.note_beat(Beat(worker="w1", incarnation="a", slots=4, running=running))
    watch.note_beat(Beat(worker="w2", incarnation="b", slots=2))
    dispatcher = SimpleNamespace(watch=watch, client=SimpleNamespace(is_connected=True))
    application.state.services = dataclasses.replace(site.services, dispatcher=dispatcher)
    answer = site.ask("GET", "/metrics", Role.OPERATOR)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = read_samples(answer.text)
    motion = {key: value for key, value in found.items() if 'backend="motion_correction/fake"' in key}
    assert motion['magellon_tasks{state="completed",backend="motion_correction/fake"}'] == 3
    assert motion['magellon_tasks{state="failed",backend="motion_correction/fake"}'] == 1
    assert sum(motion.values()) == 5
    assert found['magellon_jobs{state="active"}'] == 1
    assert found["magellon_results"] == 3
    assert found['magellon_workers{state="live"}'] == 2
    assert found["magellon_worker_slots"] == 6
    assert found["magellon_worker_slots_busy"] == 1
    assert found["magellon_bus_connected"] == 1
    assert found['magellon_disk_free_bytes{folder="results"}'] > 0
    assert found["magellon_server_memory_bytes"] > 1e6
    watch.lost_after = -1.0
    found = read_samples(site.ask("GET", "/metrics", Role.OPERATOR).text)
    assert (found['magellon_workers{state="live"}'], found['magellon_workers{state="lost"}']) == (0, 2)


def test_metrics_are_for_operators(site: Any) -> None:
    assert [site.ask("GET", "/metrics", role).status_code for role in (None, Role.VIEWER, Role.OPERATOR)] == [401, 403, 200]


def test_labels_are_escaped() -> None:
    text = write_families([Family("x", "An x.", [({"name": 'a "b"\\\n'}, 1.0)])])
    assert text == '# HELP x An x.\n# TYPE x gauge\nx{name="a \\"b\\"\\\\\\n"} 1\n'
    read_samples(text)
