"""More than two hundred faults, seeded, over whole runs: the end is always that of the run that nobody disturbed."""

import gc
import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from database import Cluster
from disks import SmallDisk
from engine import assert_no_debris, hash_tree
from fake_session import ITEM_STEPS, make_session, use_fake_backends, write_recipe
from faketime import find_library
from hosts import Hosts
from kinds import Harm
from meddler import Meddler
from plant import Plant

from magellon.platform.store.home import Home
from magellon.platform.store.results import ResultStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # a connection that a fault cuts while it is being made is not closed by the book
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

MOVIES = {f"m{number:02d}": f"movie {number}" for number in range(12)}
TASKS = len(MOVIES) * len(ITEM_STEPS) + 2
FAULTS = 56
"""In each of four runs."""
LEAST = 200
AT_WORK = 0.5
"""Of the faults, those that meet a plant at work; the others meet it however the former ones left it."""
EVERYWHERE = (
    "kill_worker", "kill_child", "kill_server", "kill_bus", "kill_all", "wipe_bus", "cut_off_worker", "freeze_server",
    "freeze_bus", "repeat_event", "repeat_task", "lose_task", "lose_event", "run_out_of_memory", "jump_clock",
)  # fmt: skip
ON_POSTGRESQL = ("restart_database", "stop_database")
ON_TWO_HOSTS = ("pull_cable",)
ON_A_SMALL_DISK = ("make_read_only", "fill_disk", "lose_results", "lose_movies")


@pytest.fixture(autouse=True)
def _fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
    use_fake_backends(tmp_path / "diary")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_session(tmp_path_factory.mktemp("source") / "lot", MOVIES)


def make_plant(folder: Path, session: Path, seconds: float) -> Plant:
    """Tasks that take no time would leave none to disturb."""
    folder.mkdir(exist_ok=True)
    recipe = write_recipe(folder)
    lines = recipe.read_text().replace('backend = "fake"', f'backend = "fake"\nparams = {{ seconds = {seconds} }}')
    recipe.write_text(lines)
    return Plant(session, Home.at(folder / "home"), recipe)


SECONDS = 0.1


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, session: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
            patch.setenv(name, "")
        folder = tmp_path_factory.mktemp("undisturbed")
        use_fake_backends(folder / "diary")
        plant = make_plant(folder, session, SECONDS)
        plant.start()
        plant.submit(0)
        plant.await_end(TASKS)
        plant.stop()
        assert sum(plant.restarts.values()) == 0
        yield plant.home.root


def disturb(plant: Plant, kinds: tuple[str, ...], seed: int, number: int) -> Counter[str]:
    """So many faults, while session after session is worked through; how many of each kind there were."""
    chance = random.Random(seed)
    meddler = Meddler(plant.address, chance)
    meddler.start()
    harm = Harm(plant, meddler, chance)
    repairs: list[tuple[float, int, Callable[[], None]]] = []
    done: Counter[str] = Counter()
    deck: list[str] = []
    salt = 1
    plant.submit(salt)
    try:
        while done.total() < number:
            time.sleep(chance.uniform(0.2, 1.2))
            if chance.random() < AT_WORK:
                plant.await_work()
            deck = deck or chance.sample(kinds, len(kinds))
            kind = deck.pop()
            repair = getattr(harm, kind)()
            if repair is None:
                deck = deck or chance.sample(kinds, len(kinds))  # alone it would wait for what only others may bring about
                deck.insert(chance.randrange(len(deck) + 1), kind)  # not now
            else:
                done[kind] += 1
                heapq.heappush(repairs, (time.monotonic() + repair[0], done.total(), repair[1]))
            while repairs and repairs[0][0] <= time.monotonic():
                heapq.heappop(repairs)[2]()
            plant.tend()
            if plant.count() == {"completed": TASKS}:
                while repairs:
                    heapq.heappop(repairs)[2]()
                salt += 1
                plant.submit(salt)  # there must be something to disturb
    finally:
        while repairs:
            heapq.heappop(repairs)[2]()
        meddler.stop()
        gc.collect()
    return done


def assert_as_undisturbed(plant: Plant, undisturbed: Path) -> None:
    home = plant.home
    store = ResultStore(home.results)
    known = plant.list_results()
    assert len(known) == TASKS, "every task has one result, and the ledger knows it"
    assert all(store.read(identity) is not None for identity in known.values()), "and it is whole"
    for identity in known.values():
        ours, theirs = hash_tree(store.path(identity)), hash_tree(ResultStore(undisturbed / "results").path(identity))
        assert ours == theirs
    assert hash_tree(home.sessions) == hash_tree(undisturbed / "sessions")
    assert_no_debris(home.root)
    partial = [path for path in home.state.rglob(".*") if path.is_file()]
    assert not partial


def assert_clock_was_wrong(plant: Plant) -> None:
    """The times of clocks that were right lie within the run, which takes minutes."""
    times = plant.list_times()
    assert max(times) - min(times) > 3000, "no process saw its clock jump"


def run_disturbed(plant: Plant, kinds: tuple[str, ...], seed: int, undisturbed: Path) -> Counter[str]:
    if find_library() is None:
        pytest.skip("libfaketime is not installed (Debian: libfaketime)")
    plant.start()
    try:
        done = disturb(plant, kinds, seed, FAULTS)
        plant.submit(0)
        plant.await_end(TASKS)
    finally:
        plant.stop()
    assert_as_undisturbed(plant, undisturbed)
    assert done.total() >= FAULTS
    assert set(done) == set(kinds), "each kind of fault happened"
    assert_clock_was_wrong(plant)
    return done


@pytest.fixture(scope="module")
def faults() -> dict[str, Counter[str]]:
    """By run: how many of each kind there were, all survived."""
    return {}


Faults = dict[str, Counter[str]]


def test_any_fault_at_any_time_changes_nothing(tmp_path: Path, session: Path, undisturbed: Path, faults: Faults) -> None:
    plant = make_plant(tmp_path / "plant", session, SECONDS)
    faults["one machine"] = run_disturbed(plant, EVERYWHERE, 1, undisturbed)


def test_a_database_that_restarts_changes_nothing(
    tmp_path: Path, session: Path, undisturbed: Path, cluster: Cluster, faults: Faults
) -> None:
    plant = make_plant(tmp_path / "plant", session, SECONDS)
    plant.cluster = cluster
    faults["PostgreSQL"] = run_disturbed(plant, (*EVERYWHERE, *ON_POSTGRESQL * 2), 2, undisturbed)


def test_a_host_that_is_cut_off_changes_nothing(
    tmp_path: Path, session: Path, undisturbed: Path, hosts: Hosts, faults: Faults
) -> None:
    plant = make_plant(tmp_path / "plant", session, SECONDS)
    plant.hosts = hosts
    faults["two hosts"] = run_disturbed(plant, (*EVERYWHERE, *ON_TWO_HOSTS * 2), 3, undisturbed)
    assert "lost their worker" in (tmp_path / "plant/server.log").read_text()


def test_a_disk_that_is_full_or_gone_changes_nothing(tmp_path: Path, session: Path, undisturbed: Path, faults: Faults) -> None:
    plant = make_plant(tmp_path / "plant", session, SECONDS)
    plant.disk = SmallDisk.make(tmp_path / "mounted", plant.home.results, session)
    if plant.disk is None:
        pytest.skip("needs the right to mount a small disk")
    plant.session = plant.disk.movies.place
    try:
        faults["a small disk"] = run_disturbed(plant, (*EVERYWHERE, *ON_A_SMALL_DISK), 4, undisturbed)
    finally:
        plant.disk.remove()
    assert not list(plant.home.results.rglob("*")), "nothing was computed into the empty mount point"


def test_there_were_enough_faults_of_every_kind(faults: Faults, capsys: pytest.CaptureFixture[str]) -> None:
    if len(faults) < 4:
        pytest.skip(f"not all runs were made, or not to their ends: {', '.join(faults) or 'none'}")
    everything = sum(faults.values(), Counter[str]())
    with capsys.disabled():
        print(f"\n{everything.total()} faults: {', '.join(f'{kind} {number}' for kind, number in sorted(everything.items()))}")
    assert everything.total() >= LEAST
