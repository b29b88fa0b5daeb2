"""A task is not blamed for files that are not mounted, and nothing is computed into an empty mount point."""

import asyncio
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from magellon.contracts.task import Task
from magellon.platform.store.environments import CataloguePlace
from magellon.platform.store.results import ResultStore
from magellon.platform.store.roots import HOME_ROOT, Roots
from magellon.platform.worker.child import Child
from magellon.platform.worker.compute import Workshop, compute_task
from magellon.platform.worker.requests import Done, Listener, Request, TaskFailure

MOVIE = {"name": "a", "path": "lot:a.mrc", "pixel_size": 1.0, "voltage": 300.0, "shape": (8, 8), "frames": 2}
TASK = Task(
    id=7, attempt=2, identity="ab" * 32, category="motion_correction", backend="fake", version=1, label="lot a",
    params={}, input={"movie": MOVIE}, inputs={}, seed=1,
)  # fmt: skip


@dataclass
class Computing(Child):
    """Fails as it is told to, or writes a file."""

    failure: TaskFailure | None = None

    async def run(self, request: Request, listen: Listener | None = None) -> Done:
        if self.failure is not None:
            raise self.failure
        (Path(request.workdir) / "out.txt").write_text("done")
        return Done({}, "cpu", 0.0)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    (tmp_path / "results/.work").mkdir(parents=True)
    (tmp_path / "lot").mkdir()
    (tmp_path / "lot/a.mrc").touch()
    place = CataloguePlace(tmp_path / "backends.json", tmp_path / "plugins")
    store = ResultStore(tmp_path / "results")
    return Workshop(store, tmp_path / "results/.work/w1", tmp_path / "logs", place, "cpu", 1, 1 << 30)


def compute(workshop: Workshop, child: Child) -> dict[str, object]:
    folder = workshop.store.folder.parent
    roots = Roots({HOME_ROOT: folder, "lot": folder / "lot"})
    return asyncio.run(compute_task(workshop, child, TASK, roots, lambda kind, fraction, text: None))[0]


def test_a_computation_ends_in_the_store(workshop: Workshop) -> None:
    compute(workshop, Computing())
    assert (workshop.store.path(TASK.identity) / "out.txt").read_text() == "done"


@pytest.mark.parametrize("kind", ["bad_input", "defect"])
def test_a_failure_is_the_tasks_while_everything_is_there(workshop: Workshop, kind: str) -> None:
    with pytest.raises(TaskFailure) as caught:
        compute(workshop, Computing(failure=TaskFailure(kind, "a.mrc: no such file")))
    assert (caught.value.kind, caught.value.message) == (kind, "a.mrc: no such file")


@pytest.mark.parametrize("left", ["an empty folder", "nothing"])
def test_movies_that_went_are_waited_for(workshop: Workshop, left: str) -> None:
    lot = workshop.store.folder.parent / "lot"
    shutil.rmtree(lot)
    if left == "an empty folder":
        lot.mkdir()
    with pytest.raises(TaskFailure, match=r"'lot' at .*/lot is not there now") as caught:
        compute(workshop, Computing(failure=TaskFailure("bad_input", "a.mrc: no such file")))
    assert caught.value.kind == "transient"


def test_an_empty_mount_point_takes_no_results(workshop: Workshop) -> None:
    shutil.rmtree(workshop.store.folder)
    workshop.store.folder.mkdir()
    with pytest.raises(TaskFailure) as caught:
        compute(workshop, Computing())
    assert caught.value.kind == "transient"
    assert not workshop.is_there()
    assert not list(workshop.store.folder.rglob("*"))


def test_results_that_go_meanwhile_are_not_made_elsewhere(workshop: Workshop) -> None:
    class Losing(Computing):
        async def run(self, request: Request, listen: Listener | None = None) -> Done:
            done = await super().run(request, listen)
            workshop.store.folder.rename(workshop.store.folder.with_name("elsewhere"))
            workshop.store.folder.mkdir()
            return done

    with pytest.raises(TaskFailure) as caught:
        compute(workshop, Losing())
    assert caught.value.kind == "transient"
    assert not list(workshop.store.folder.rglob("*"))


def test_what_was_left_on_a_disk_that_came_back_is_removed(workshop: Workshop) -> None:
    for name in ("aa.1", "bb.2"):
        (workshop.work / name).mkdir(parents=True)
    workshop.clear_leftovers({"bb": None})
    assert [path.name for path in workshop.work.iterdir()] == ["bb.2"]
    shutil.rmtree(workshop.store.folder)
    workshop.clear_leftovers({})
