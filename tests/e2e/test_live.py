"""A session that grows while it is processed: the real engine, a real folder, and a server that is killed meanwhile."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from engine import count_executions, describe_home
from fake_session import RECIPE, use_fake_backends, write_movie
from sqlalchemy import Connection, create_engine, select

from magellon.platform.bus.connection import connect_bus
from magellon.platform.launch.local import LocalPlan, run_locally
from magellon.platform.pipeline.recipe import Recipe, read_recipe
from magellon.platform.process import ask_server
from magellon.platform.server.policy import Policy
from magellon.platform.server.submitting import Submission
from magellon.platform.sessions.watch_settings import WatchSettings
from magellon.platform.store.home import Home
from magellon.platform.store.schema import items, sessions, tasks

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

POLICY = Policy(beat_interval=0.3, lost_after=4, transient_delay=0.2, reconcile_interval=3, gather_interval=2, gather_pause=1)
WATCH = WatchSettings(settle=0.8, patience=30, shortest_interval=0.2, longest_interval=0.4, recheck=1, until_quiet=6)


@pytest.fixture(autouse=True)
def diary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
        monkeypatch.setenv(name, "")
    use_fake_backends(tmp_path / "diary")
    return tmp_path / "diary"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return read_recipe(tmp_path / "recipe.toml")


def ask_ledger(home: Home, question: Callable[[Connection], Any]) -> Any:
    engine = create_engine(f"sqlite:///{home.ledger}")
    with engine.connect() as connection:
        answer = question(connection)
    engine.dispose()
    return answer


async def wait_until(home: Home, condition: Callable[[Connection], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not ask_ledger(home, condition):
        assert time.monotonic() < deadline, "nothing happens: " + describe_home(home.root)
        await asyncio.sleep(0.1)


def count_completed(step: str, number: int) -> Callable[[Connection], bool]:
    query = select(tasks.c.id).where(tasks.c.step == step, tasks.c.state == "completed")
    return lambda connection: len(connection.execute(query).all()) >= number


def is_over(connection: Connection) -> bool:
    return connection.execute(select(sessions.c.live)).scalar_one() is None


def kill_server(home: Home) -> None:
    for process in psutil.process_iter(["cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        if "magellon.platform.server" in words and str(home.root) in words:
            process.kill()


async def write_slowly(path: Path, text: str) -> None:
    """In three parts, with pauses longer than a movie takes to settle."""
    whole = path.with_suffix(".whole")
    write_movie(whole, text)
    content = whole.read_bytes()
    whole.unlink()
    for end in (1000, 1100, len(content)):
        path.write_bytes(content[:end])
        await asyncio.sleep(1.2 if end < len(content) else 0)


async def play(folder: Path, home: Home, recipe: Recipe) -> None:
    plan = LocalPlan(slots=2, policy=POLICY.model_dump_json(), beat=POLICY.beat_interval)
    submission = Submission(folder=str(folder), recipe=recipe, alone=False, live=True, watch=WATCH)
    async with run_locally(home, plan) as running:
        client = await connect_bus(running.address, "test")
        try:
            await ask_server(client, "api.submit", submission.model_dump_json().encode())
            await asyncio.gather(*(write_slowly(folder / f"m{number}.mrc", f"movie {number}") for number in range(8)))
            await wait_until(home, count_completed("particle_survey", 1))
            kill_server(home)
            write_movie(folder / "m8.mrc", "movie 8")
            (folder / "m0.mrc").rename(folder / "first.mrc")
            await asyncio.sleep(1)
            write_movie(folder / "m1.mrc", "movie 1 again")
            await wait_until(home, count_completed("particle_extraction", 9))
            await write_slowly(folder / "m9.mrc", "movie 9")
            await wait_until(home, is_over)
            await wait_until(home, count_completed("particle_extraction", 10))
            await wait_until(home, count_completed("session_star", 1))
        finally:
            await client.close()


def test_a_growing_session_is_processed_once_and_wholly(tmp_path: Path, diary: Path, recipe: Recipe) -> None:
    folder, home = tmp_path / "lot", Home.at(tmp_path / "home")
    folder.mkdir()
    (folder / "session.json").write_text(json.dumps({"name": "lot", "movies": "*.mrc", "pixel_size": 1.5}))
    asyncio.run(play(folder, home, recipe))
    begun = count_executions(diary)
    names = {f"m{number}" for number in range(10)}
    assert ask_ledger(home, lambda c: set(c.execute(select(items.c.name)).scalars())) == names
    lengths = {name: (home.sessions / "lot/motion_correction" / f"{name}.mrc").read_text().split() for name in names}
    assert {words[2] for words in lengths.values()} == {str(1024 + 128)}, "none was read before it was whole"
    for name in names - {"m1"}:
        assert begun[f"motion_correction {name}"] == 1, name
    assert begun["motion_correction m1"] == 2
    assert begun["particle_survey session"] == 1
    assert 2 <= begun["session_star session"] <= 8
    star = (home.sessions / "lot/particles.star").read_text()
    assert {line.split(":")[0] for line in star.splitlines()} == names
    assert (home.sessions / "lot/movies/m0.mrc").samefile(folder / "first.mrc")
    assert b"movie 1 again" in (home.sessions / "lot/movies/m1.mrc").read_bytes()
