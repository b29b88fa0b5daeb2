"""Whole sessions on a site's PostgreSQL and NATS: the same results as on one machine, whatever is restarted meanwhile."""

import asyncio
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from authority import Authority
from database import Cluster
from engine import assert_no_debris, hash_results, hash_tree, promoted
from fake_session import ITEM_STEPS, RECIPE, make_session, use_fake_backends
from servers import Place, make_server

from magellon.platform.bus.access import find_bus
from magellon.platform.bus.configuration import find_free_port
from magellon.platform.bus.connection import connect_bus
from magellon.platform.launch.local import LocalPlan, Site, run_locally
from magellon.platform.pipeline.recipe import Recipe, change_recipe
from magellon.platform.process import _follow
from magellon.platform.server.policy import Policy
from magellon.platform.server.report import Summary
from magellon.platform.server.submitting import Submission
from magellon.platform.store.home import Home

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MOVIES = {f"m{number:02d}": f"movie {number}" for number in range(8)}
TASKS = len(MOVIES) * len(ITEM_STEPS) + 2
POLICY = Policy(beat_interval=0.3, lost_after=4, transient_delay=0.2, reconcile_interval=3)


@pytest.fixture(autouse=True)
def fake_backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAGELLON_EXTRA_BACKENDS", "PYTHONPATH", "FAKE_DIARY"):
        monkeypatch.setenv(name, "")
    use_fake_backends(tmp_path / "diary")


@pytest.fixture
def session(tmp_path: Path) -> Path:
    return make_session(tmp_path / "lot", MOVIES)


def make_submission(folder: Path) -> Submission:
    slow = [f"{step}.seconds=0.1" for step in (*ITEM_STEPS, "particle_survey")]
    recipe = change_recipe(Recipe.model_validate(tomllib.loads(RECIPE)), slow)
    return Submission(folder=str(folder), recipe=recipe)


async def process(home: Home, session: Path, site: Site | None, disturb: Callable[[int], None]) -> Summary:
    """`disturb` is called with the number of results whenever it has changed."""
    home.prepare()
    plan = LocalPlan(slots=2, policy=POLICY.model_dump_json(), beat=POLICY.beat_interval)
    async with run_locally(home, plan, site) as running:
        client = await connect_bus(running.address, "test", patience=30)
        try:
            following = asyncio.create_task(_follow(client, make_submission(session), lambda progress: None))
            failing = asyncio.create_task(running.supervisor.wait_for_failure())
            before = 0
            while not following.done():
                await asyncio.wait({following, failing}, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
                if failing.done():
                    failing.result()
                count = len(promoted(home.root))
                if count != before:
                    before = count
                    await asyncio.to_thread(disturb, count)
            failing.cancel()
            return following.result()
        finally:
            await client.close()


def run(folder: Path, session: Path, site: Site | None = None, disturb: Callable[[int], None] = lambda count: None) -> Path:
    home = Home.at(folder / "home")
    summary = asyncio.run(asyncio.wait_for(process(home, session, site, disturb), 300))
    assert summary.ok
    assert not summary.failures
    assert len(promoted(home.root)) == TASKS
    assert_no_debris(home.root)
    return home.root


def once(at: int, act: Callable[[], None]) -> Callable[[int], None]:
    """Acts when so many results are there, once."""
    left = [act]

    def disturb(count: int) -> None:
        if count >= at and left:
            left.pop()()

    return disturb


def assert_same(one: Path, other: Path) -> None:
    assert hash_results(one) == hash_results(other)
    assert hash_tree(one / "sessions") == hash_tree(other / "sessions")


def test_the_database_is_restarted_twice(tmp_path: Path, session: Path, cluster: Cluster, database: str) -> None:
    alone = run(tmp_path / "alone", session)
    restarts = [once(at, lambda: cluster.restart(pause=1.5)) for at in (TASKS // 4, TASKS // 2)]
    site = run(tmp_path / "site", session, Site(database=database), lambda count: [act(count) for act in restarts] and None)
    assert_same(alone, site)


def test_one_of_three_nats_servers_dies(tmp_path: Path, session: Path, authority: Authority, database: str) -> None:
    (tmp_path / "nats").mkdir()
    routes = [find_free_port() for _ in range(3)]
    access = 'authorization { token: "a-long-token" }'
    servers = [make_server(Place(tmp_path / "nats"), authority, access, routes, number) for number in range(3)]
    token = tmp_path / "token"
    token.write_text("a-long-token")
    token.chmod(0o600)
    bus = find_bus(",".join(f"tls://127.0.0.1:{each.port}" for each in servers), authority.file, token)
    for server in servers:
        server.start()
    try:
        alone = run(tmp_path / "alone", session)
        site = run(tmp_path / "site", session, Site(bus=bus, database=database), once(TASKS // 3, servers[0].kill))
        assert_same(alone, site)
    finally:
        for server in servers:
            server.kill()
