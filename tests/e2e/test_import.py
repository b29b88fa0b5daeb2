"""Sessions of acquisition programs through the engine: their places are in the ledger, and a running server takes more."""

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
from engine import Run, assert_no_debris
from fake_session import use_fake_backends, write_recipe

from magellon.platform.handing_over import hand_over
from magellon.platform.launch.local import LocalPlan, run_locally
from magellon.platform.pipeline.recipe import read_recipe
from magellon.platform.server.submitting import Submission
from magellon.platform.store.home import Home
from session_files import make_epu, make_serialem

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _fake_backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
        monkeypatch.setenv(name, "")
    use_fake_backends(tmp_path / "diary")


def ask(home: Path, query: str) -> list[tuple[object, ...]]:
    with sqlite3.connect(home / "state" / "ledger.sqlite") as ledger:
        return ledger.execute(query).fetchall()


PLACES = "select e.name, h.name, s.name from items i join places e on i.place_id = e.id \
    join places h on e.parent_id = h.id join places s on h.parent_id = s.id order by 1"


def test_an_epu_session_is_processed_with_its_places_and_groups(tmp_path: Path) -> None:
    session = make_epu(tmp_path / "grid", 3)
    run = Run(session, tmp_path / "home", write_recipe(tmp_path))
    run.start()
    summary = run.finish()
    assert summary["ok"]
    assert [row[1:] for row in ask(tmp_path / "home", PLACES)] == [
        ("FoilHole_100", "GridSquare_7"),
        ("FoilHole_100", "GridSquare_7"),
        ("FoilHole_101", "GridSquare_7"),
    ]
    movies = [json.loads(str(row[0])) for row in ask(tmp_path / "home", "select movie from items order by name")]
    assert [movie["optics"]["group"] for movie in movies] == ["grid_1", "grid_2", "grid_1"]
    assert [movie["exposure_per_frame"] for movie in movies] == [10, 10, 10]
    make_epu(session, 5)
    run.start()
    run.finish()
    movies = [json.loads(str(row[0])) for row in ask(tmp_path / "home", "select movie from items order by name")]
    assert [movie["optics"]["group"] for movie in movies] == ["grid_1", "grid_2", "grid_1", "grid_2", "grid_1"]
    assert_no_debris(run.home)


async def submit(home: Home, folder: Path, recipe: Path) -> int:
    submission = Submission(folder=str(folder), recipe=read_recipe(recipe), alone=False)
    async with run_locally(home, LocalPlan(slots=1)):
        return await asyncio.to_thread(hand_over, home, submission)


def test_a_running_server_takes_a_session(tmp_path: Path) -> None:
    home = Home.at(tmp_path / "home")
    folder = make_serialem(tmp_path / "grid", 2)
    assert asyncio.run(submit(home, folder, write_recipe(tmp_path))) == 1
    assert ask(home.root, "select name, folder from sessions") == [("grid", str(folder))]
    assert len(ask(home.root, "select id from items where place_id is not null")) == 2
