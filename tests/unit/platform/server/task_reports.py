"""What a worker would report of tasks, and a look at their rows."""

from typing import Any

from sqlalchemy import Connection, select

from magellon.contracts.task import Failed, FailureKind, Finished, Started, Task
from magellon.platform.store.schema import tasks


def row_of(connection: Connection, number: int) -> Any:
    return connection.execute(select(tasks).where(tasks.c.id == number)).one()


def started(task: Task) -> Started:
    return Started(task=task.id, attempt=task.attempt, worker="w", incarnation="i")


def failed(task: Task, kind: FailureKind) -> Failed:
    return Failed(task=task.id, attempt=task.attempt, worker="w", kind=kind, message="why", traceback="where")


def finished(task: Task) -> Finished:
    if task.category == "motion_correction":
        micrograph = {"name": "m", "path": "m.mrc", "pixel_size": 1, "shape": [4, 4]}
        output: dict[str, Any] = {
            "micrograph": micrograph,
            "unweighted": micrograph,
            "even": None,
            "odd": None,
            "star": "m.star",
        }
        output |= {"plot": "m.png", "frames": 2, "total_motion": 1, "early_motion": 1, "late_motion": 1}
    elif task.category == "fft":
        output = {"picture": "m_fft.png"}
    else:
        output = {"corrected_micrographs": None, "micrographs_ctf": None, "particles": None, "summary": "summary.json"}
    return Finished(task=task.id, attempt=task.attempt, identity=task.identity, worker="w", output=output)
