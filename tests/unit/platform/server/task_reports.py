"""What a worker would report of tasks, and a look at their rows."""

from typing import Any

from sqlalchemy import Connection, select

from magellon.contracts.task import Failed, FailureKind, Finished, Started, Task
from magellon.platform.store.schema import tasks

OUTPUTS: dict[str, dict[str, Any]] = {
    "fft": {"picture": "m_fft.png"},
    "square_detection": {
        "squares": "m_squares.json", "star": "m_squares.star", "targets": "m_squares.nav", "picture": "m_squares.png",
        "count": 4, "good": 3,
    },
    "hole_detection": {
        "holes": "m_holes.json", "star": "m_holes.star", "targets": "m_holes.nav", "picture": "m_holes.png",
        "count": 9, "good": 9,
    },
    "particle_picking": {"picks": {"path": "m_autopick.star", "count": 3, "diameter": 100}, "picture": "m_picks.png"},
    "particle_extraction": {
        "particles": {"star": "m.star", "stack": "m.mrcs", "count": 3, "box": 64, "pixel_size": 1},
        "left_out_at_edge": 0, "padded_at_edge": 0, "duplicates_removed": 0, "picture": None,
    },
    "two_d_classification": {
        "classes": {"averages": "class_averages.mrcs", "table": "class_averages.star", "box": 64, "pixel_size": 1},
        "particles": "particles.star", "all_particles": "all_particles.star", "picture": "class_averages.png",
        "count": 3, "kept": 2, "classes_used": 1,
    },
    "picker_training": {
        "network": "picker.onnx", "improved": True, "before": 0.5, "after": 0.6, "report": "picker_training.json",
        "picture": "picker_training.png",
    },
}  # fmt: skip
"""Of steps whose output does not depend on their input."""


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
    elif task.category in OUTPUTS:
        output = OUTPUTS[task.category]
    else:
        output = {"corrected_micrographs": None, "micrographs_ctf": None, "particles": None, "summary": "summary.json"}
    return Finished(task=task.id, attempt=task.attempt, identity=task.identity, worker="w", output=output)
