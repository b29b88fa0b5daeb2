"""The state of the server in Prometheus' text format."""

import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

import psutil
from sqlalchemy import Connection, func, select

from magellon.platform.server.watch import Sight
from magellon.platform.store.home import Home
from magellon.platform.store.schema import jobs, results, tasks

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[Mapping[str, str], float]


@dataclass(frozen=True)
class Family:
    """A metric with its samples. All are gauges: the ledger knows what is, Prometheus keeps what was."""

    name: str
    text: str
    samples: list[Sample] = field(default_factory=list)


def write_families(families: Iterable[Family]) -> str:
    """The text that Prometheus reads."""
    lines = []
    for family in families:
        lines += [f"# HELP {family.name} {family.text}", f"# TYPE {family.name} gauge"]
        for labels, value in family.samples:
            inside = ",".join(f'{name}="{_escape(label)}"' for name, label in labels.items())
            lines.append(f"{family.name}{{{inside}}} {value:.17g}" if inside else f"{family.name} {value:.17g}")
    return "\n".join(lines) + "\n"


def _escape(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def measure_ledger(connection: Connection) -> list[Family]:
    """Tasks by state and backend, jobs, results."""
    query = select(tasks.c.state, tasks.c.category, tasks.c.backend, func.count().label("number"))
    rows = connection.execute(query.group_by(tasks.c.state, tasks.c.category, tasks.c.backend)).all()
    counted = [({"state": row.state, "backend": f"{row.category}/{row.backend}"}, float(row.number)) for row in rows]
    active = select(jobs.c.paused, func.count().label("number")).where(jobs.c.active).group_by(jobs.c.paused)
    found = {bool(row.paused): float(row.number) for row in connection.execute(active)}
    kept = connection.execute(select(func.count()).select_from(results)).scalar_one()
    states: list[Sample] = [({"state": "active"}, found.get(False, 0.0)), ({"state": "paused"}, found.get(True, 0.0))]
    return [
        Family("magellon_tasks", "Tasks by state and backend.", sorted(counted, key=lambda sample: sorted(sample[0].items()))),
        Family("magellon_jobs", "Jobs that are not finished.", states),
        Family("magellon_results", "Results in the ledger.", [({}, float(kept))]),
    ]


def measure_workers(sights: Iterable[Sight]) -> list[Family]:
    """Workers that beat, workers that fell silent, and how busy they are."""
    known = list(sights)
    living = [sight.beat for sight in known if not sight.lost]
    number: list[Sample] = [({"state": "live"}, float(len(living))), ({"state": "lost"}, float(len(known) - len(living)))]
    return [
        Family("magellon_workers", "Workers by whether they give signs of life.", number),
        Family("magellon_worker_slots", "Tasks that live workers can compute at a time.", [({}, sum(b.slots for b in living))]),
        Family("magellon_worker_slots_busy", "Those they compute.", [({}, sum(len(b.running) for b in living))]),
    ]


def measure_server(home: Home, connected: bool) -> list[Family]:
    """The process, its bus and its disks."""
    process = psutil.Process()
    free: list[Sample] = [
        ({"folder": name}, float(shutil.disk_usage(folder).free))
        for name, folder in (("results", home.results), ("state", home.state))
        if folder.exists()
    ]
    return [
        Family("magellon_build_info", "Version of the server.", [({"version": version("magellon")}, 1.0)]),
        Family("magellon_bus_connected", "1 while the bus answers.", [({}, float(connected))]),
        Family("magellon_disk_free_bytes", "Space left.", free),
        Family("magellon_server_memory_bytes", "Resident memory.", [({}, float(process.memory_info().rss))]),
        Family("magellon_server_uptime_seconds", "Since it was started.", [({}, time.time() - process.create_time())]),
    ]
