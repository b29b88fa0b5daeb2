"""Numbers of micrographs, in a table of their own so that many can be sorted and filtered; only of results that are current."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, select

from magellon.platform.server.book import Book, split
from magellon.platform.store.batches import execute_many
from magellon.platform.store.schema import metrics, tasks

METRICS: dict[str, tuple[str, str]] = {
    "defocus": ("Å", "mean of U and V, positive = underfocus"),
    "astigmatism": ("Å", "U - V"),
    "resolution": ("Å", "to which Thon rings are fitted"),
    "score": ("", "of the CTF fit, 0..1"),
    "phase_shift": ("°", "of the CTF fit"),
    "ice": ("", "power of the ice ring about 3.7 Å above its surroundings, as a fraction of them"),
    "total_motion": ("Å", "summed steps of the whole movie"),
    "early_motion": ("Å", "up to 4 e/Å²"),
    "late_motion": ("Å", "from 4 e/Å²"),
    "picks": ("", "particles picked"),
    "masked_fraction": ("", "of the area left out by the picker, 0..1"),
    "particles": ("", "particles extracted"),
}
"""Unit and meaning by name."""


def _measure_ctf(output: Mapping[str, Any]) -> dict[str, Any]:
    ctf = output["ctf"]
    return {
        "defocus": (ctf["defocus_u"] + ctf["defocus_v"]) / 2,
        "astigmatism": ctf["defocus_u"] - ctf["defocus_v"],
        "resolution": ctf["resolution"],
        "score": ctf["score"],
        "phase_shift": ctf.get("phase_shift", 0.0),
        "ice": output.get("ice"),
    }


def _measure_motion(output: Mapping[str, Any]) -> dict[str, Any]:
    return {name: output[name] for name in ("total_motion", "early_motion", "late_motion")}


def _measure_picks(output: Mapping[str, Any]) -> dict[str, Any]:
    return {"picks": output["picks"]["count"], "masked_fraction": output.get("masked_fraction")}


def _measure_particles(output: Mapping[str, Any]) -> dict[str, Any]:
    return {"particles": output["particles"]["count"]}


_MEASURES: dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "ctf_estimation": (("defocus", "astigmatism", "resolution", "score", "phase_shift", "ice"), _measure_ctf),
    "motion_correction": (("total_motion", "early_motion", "late_motion"), _measure_motion),
    "particle_picking": (("picks", "masked_fraction"), _measure_picks),
    "particle_extraction": (("particles",), _measure_particles),
}

_find_measured = select(
    tasks.c.job_id, tasks.c.item_id, tasks.c.step, tasks.c.category, tasks.c.state, tasks.c.identity
).where(
    tasks.c.id.in_(bindparam("numbers", expanding=True)),
    tasks.c.category.in_(sorted(_MEASURES)),
    tasks.c.item_id.is_not(None),
)  # fmt: skip
_enter_values = insert(metrics)
_forget = delete(metrics).where(
    metrics.c.job_id == bindparam("job"),
    metrics.c.item_id.in_(bindparam("items", expanding=True)),
    metrics.c.name.in_(bindparam("names", expanding=True)),
)


def measure_output(category: str, output: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of one result, without those its backend does not tell."""
    if category not in _MEASURES:
        return {}
    found = _MEASURES[category][1](output)
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def enter_metrics(book: Book, connection: Connection, task_numbers: Iterable[int]) -> None:
    """Bring the numbers of these tasks' micrographs up to date: those of completed tasks are there, others are not."""
    for part in split(sorted(set(task_numbers))):
        _enter(book, connection, connection.execute(_find_measured, {"numbers": part}).all())


def renew_metrics(book: Book, connection: Connection, job_id: int) -> None:
    """The same for a whole job, after its recipe changed."""
    query = select(tasks.c.id).where(tasks.c.job_id == job_id, tasks.c.category.in_(_MEASURES), tasks.c.item_id.is_not(None))
    numbers = connection.execute(query).scalars().all()
    connection.execute(delete(metrics).where(metrics.c.job_id == job_id))
    enter_metrics(book, connection, numbers)


def _enter(book: Book, connection: Connection, rows: Sequence[Any]) -> None:
    speaking: dict[int, set[str]] = {}
    spoken = []
    for row in rows:
        if row.job_id not in speaking:
            steps = book.job(connection, row.job_id).plan.item_steps
            speaking[row.job_id] = set({step.category: step.key for step in steps}.values())  # the last of its category
        if row.step in speaking[row.job_id]:
            spoken.append(row)
    for category, (names, _) in _MEASURES.items():
        for job in speaking:
            of = [row.item_id for row in spoken if row.category == category and row.job_id == job]
            if of:
                connection.execute(_forget, {"job": job, "items": of, "names": names})
    completed = [row for row in spoken if row.state == "completed"]
    outputs = book.fetch_outputs(connection, [row.identity for row in completed])
    new = [
        {"job_id": row.job_id, "item_id": row.item_id, "name": name, "value": value}
        for row in completed
        if row.identity in outputs
        for name, value in measure_output(row.category, outputs[row.identity]).items()
    ]
    execute_many(connection, _enter_values, new)
