"""RELION's record of what was done in a project: `default_pipeline.star`, and the files in each job's folder.

Types are numbers, as RELION 3.1 writes them; RELION 4 and 5 translate these when they read them, which does not hold the other
way round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from magellon.backends.session_export.project import Project
from magellon.io.star import StarTable

MOVIES, MICROGRAPHS, COORDINATES, PARTICLES = 0, 1, 2, 3
"""Types of nodes."""
_SUCCESS = 2
_PROJECT_FILE = ".gui_projectdir"
"""Without it RELION's interface asks whether a new project is to be started."""
_STAGING = ".TMP_runfiles"
"""Where RELION 4 and later put the settings of a job before it runs; made with a new project, not afterwards."""
_NO_ALIAS = "None"
_SAID = "Done by Magellon, which exported the results of its own step.\n"


@dataclass(frozen=True)
class Job:
    """One job of RELION's pipeline."""

    folder: str
    """Such as `Import/job001/`."""
    kind: int
    """RELION's number of the job's type."""
    inputs: Sequence[str]
    outputs: Mapping[str, int]
    """File, with the job's folder before it > type of node."""
    options: Mapping[str, str] = field(default_factory=dict)
    """What the interface shows of the job."""

    @property
    def number(self) -> int:
        return int(self.folder.rstrip("/")[-3:])


def write_pipeline(project: Project, jobs: Sequence[Job]) -> None:
    """Write the project's pipeline and each job's own files."""
    project.write_text(_PROJECT_FILE)
    (project.folder / _STAGING).mkdir()
    project.write_star("default_pipeline.star", _tabulate_pipeline(jobs, max(job.number for job in jobs) + 1))
    nodes = {name: kind for job in jobs for name, kind in job.outputs.items()}
    for job in jobs:
        project.write_star(f"{job.folder}job_pipeline.star", _tabulate_pipeline([job], 2, nodes))
        project.write_star(f"{job.folder}job.star", _tabulate_job(job))
        project.write_text(f"{job.folder}run.out", _SAID)
        project.write_text(f"{job.folder}note.txt", _SAID)
        project.write_text(f"{job.folder}run.err")
        project.write_text(f"{job.folder}RELION_JOB_EXIT_SUCCESS")


def _tabulate_pipeline(jobs: Sequence[Job], counter: int, nodes: Mapping[str, int] | None = None) -> dict[str, StarTable]:
    """`nodes` has the types of inputs that come from jobs not listed."""
    listed: dict[str, int] = {}
    for job in jobs:
        listed |= {name: (nodes or {})[name] for name in job.inputs if name in (nodes or {})}
        listed |= job.outputs
    taken = [(name, job.folder) for job in jobs for name in job.inputs]
    made = [(job.folder, name) for job in jobs for name in job.outputs]
    return {
        "pipeline_general": StarTable({"rlnPipeLineJobCounter": [counter]}, loop=False),
        "pipeline_processes": StarTable(
            {
                "rlnPipeLineProcessName": [job.folder for job in jobs],
                "rlnPipeLineProcessAlias": [_NO_ALIAS] * len(jobs),
                "rlnPipeLineProcessType": [job.kind for job in jobs],
                "rlnPipeLineProcessStatus": [_SUCCESS] * len(jobs),
            }
        ),
        "pipeline_nodes": StarTable(
            {"rlnPipeLineNodeName": list(listed), "rlnPipeLineNodeType": list(listed.values())},
        ),
        "pipeline_input_edges": _tabulate_edges(("rlnPipeLineEdgeFromNode", "rlnPipeLineEdgeProcess"), taken),
        "pipeline_output_edges": _tabulate_edges(("rlnPipeLineEdgeProcess", "rlnPipeLineEdgeToNode"), made),
    }


def _tabulate_edges(labels: tuple[str, str], edges: Sequence[tuple[str, str]]) -> StarTable:
    return StarTable({label: [edge[side] for edge in edges] for side, label in enumerate(labels)})


def _tabulate_job(job: Job) -> dict[str, StarTable]:
    values: dict[str, list[Any]] = {
        "rlnJobOptionVariable": sorted(job.options),
        "rlnJobOptionValue": [job.options[name] for name in sorted(job.options)],
    }
    return {
        "job": StarTable({"rlnJobType": [job.kind], "rlnJobIsContinue": [0]}, loop=False),
        "joboptions_values": StarTable(values),
    }
