"""Kill any process at any time: the final result is the same as without the kill."""

import os
import shutil
import time
from pathlib import Path

import pytest
from engine import Run, assert_no_debris, count_executions, hash_results, hash_tree, promoted
from fake_session import ITEM_STEPS, make_session, use_fake_backends, write_recipe

pytestmark = pytest.mark.slow

MOVIES = {f"m{number:02d}": f"movie {number}" for number in range(10)}
TASKS = len(MOVIES) * len(ITEM_STEPS) + 2
SLOW = tuple(f"{step}.seconds=0.15" for step in (*ITEM_STEPS, "particle_survey"))


@pytest.fixture(autouse=True)
def diary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
    use_fake_backends(tmp_path / "diary")
    return tmp_path / "diary"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(tmp_path_factory.mktemp("source") / "lot", MOVIES)


def make_run(folder: Path, session: Path) -> Run:
    folder.mkdir(exist_ok=True)
    return Run(session, folder / "home", write_recipe(folder), SLOW)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, session: Path) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
            patch.setenv(name, "")
        use_fake_backends(folder / "diary")
        run = make_run(folder, session)
        run.start()
        summary = run.finish()
    assert summary["ok"]
    assert set(count_executions(folder / "diary").values()) == {1}
    return run.home


def assert_same(home: Path, undisturbed: Path) -> None:
    assert len(promoted(home)) == TASKS
    assert hash_results(home) == hash_results(undisturbed)
    assert hash_tree(home / "sessions") == hash_tree(undisturbed / "sessions")
    assert_no_debris(home)


def test_worker_server_and_bus_killed_in_turn(tmp_path: Path, session: Path, undisturbed: Path, diary: Path) -> None:
    run = make_run(tmp_path, session)
    run.start()
    kills = ("magellon.platform.worker", "magellon.platform.server", "nats-server", "magellon.backends.child")
    finished_then: list[tuple[float, int]] = []
    for number, words in enumerate(kills):
        run.wait_until(lambda least=4 + 9 * number: len(promoted(run.home)) >= least)  # type: ignore[misc]
        finished_then.append((time.time(), len(promoted(run.home))))
        run.kill(words)
    summary = run.finish()
    assert summary["ok"]
    assert not summary["failures"]
    assert_same(run.home, undisturbed)
    # a kill may cost the tasks at work, two slots each for the worker's and one for a child's; never a finished one
    extra = sum(count_executions(diary).values()) - TASKS
    assert extra <= 3
    assert all(count <= TASKS - 2 for _, count in finished_then), "the kills came too late to disturb anything"


@pytest.mark.parametrize("at", [3, 25])
def test_foreground_killed_and_started_again(tmp_path: Path, session: Path, undisturbed: Path, diary: Path, at: int) -> None:
    first = make_run(tmp_path, session)
    first.start()
    first.wait_until(lambda: len(promoted(first.home)) >= at)
    first.kill_foreground()
    first.assert_nothing_left()
    finished = promoted(first.home)
    begun = count_executions(diary)
    second = make_run(tmp_path, session)
    second.start()
    assert second.finish()["ok"]
    assert finished <= promoted(second.home)
    assert_same(second.home, undisturbed)
    extra = sum(count_executions(diary).values()) - TASKS
    assert extra <= sum(begun.values()) - len(finished)
    assert extra <= 2


def test_bus_store_deleted_between_two_runs(tmp_path: Path, session: Path, undisturbed: Path, diary: Path) -> None:
    first = make_run(tmp_path, session)
    first.start()
    first.wait_until(lambda: len(promoted(first.home)) >= 12)
    first.kill_foreground()
    first.assert_nothing_left()
    shutil.rmtree(first.home / "state/bus/store")
    second = make_run(tmp_path, session)
    second.start()
    assert second.finish()["ok"]
    assert_same(second.home, undisturbed)
    assert sum(count_executions(diary).values()) - TASKS <= 2


def test_bus_store_lost_while_it_runs(tmp_path: Path, session: Path, undisturbed: Path, diary: Path) -> None:
    run = make_run(tmp_path, session)
    run.start()
    run.wait_until(lambda: len(promoted(run.home)) >= 12)
    store = run.home / "state/bus/store"
    os.rename(store, tmp_path / "lost")
    run.kill("nats-server")
    assert run.finish()["ok"]
    assert_same(run.home, undisturbed)
    assert sum(count_executions(diary).values()) - TASKS <= 4


def test_a_finished_session_costs_nothing_again(tmp_path: Path, undisturbed: Path, session: Path, diary: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "home", symlinks=True)
    run = make_run(tmp_path, session)
    run.start()
    assert run.finish()["ok"]
    assert not count_executions(diary)
    assert_same(run.home, undisturbed)


def test_interrupt_leaves_nothing_running(tmp_path: Path, session: Path) -> None:
    run = make_run(tmp_path, session)
    run.start()
    run.wait_until(lambda: len(promoted(run.home)) >= 3)
    run.interrupt()
    assert_no_debris(run.home)
